// The other side of test_auth_*peers.py: a JSON object a line in, one out; messages are in base64.
'use strict';
const readline = require('node:readline');
const { dkimVerify } = require('mailauth/lib/dkim/verify');
const { dkimSign } = require('mailauth/lib/dkim/sign');
const { arc, sealMessage } = require('mailauth/lib/arc');
const { dmarc } = require('mailauth/lib/dmarc');

console.log = console.error; // stdout is ours: the library tells of odd keys there
let zone = new Map(); // "name TYPE": a list, or a code

function failure(code) {
    const err = new Error(code);
    err.code = code;
    return err;
}

async function resolver(name, type) {
    const normal = name.toLowerCase().replace(/\.$/, '');
    const found = zone.get(`${normal} ${type}`);
    if (typeof found === 'string') throw failure(found);
    if (!found) throw failure(zone.get(normal) ? 'ENODATA' : 'ENOTFOUND');
    return found;
}

const bytes = job => Buffer.from(job.message, 'base64');

const ops = {
    zone(job) {
        zone = new Map(Object.entries(job.records));
        return {};
    },
    async verify(job) {
        const told = await dkimVerify(bytes(job), { resolver });
        const chain = await arc(told.arc, { resolver });
        return {
            dkim: (told.results || []).map(r => [r.status.result, r.status.comment || '']),
            arc: chain.status.result,
            why: chain.status.comment || '',
        };
    },
    async sign(job) {
        const made = await dkimSign(bytes(job), {
            canonicalization: job.canon,
            signTime: new Date(job.time * 1000),
            headerList: job.headers ? job.headers.split(':') : undefined,
            signatureData: [{ signingDomain: job.domain, selector: job.selector, privateKey: job.key }],
        });
        if (made.errors && made.errors.length) return { error: String(made.errors[0].err) };
        return { field: Buffer.from(made.signatures, 'binary').toString('base64') };
    },
    async seal(job) {
        const made = await sealMessage(bytes(job), {
            signingDomain: job.domain,
            selector: job.selector,
            privateKey: job.key,
            algorithm: 'rsa-sha256',
            signTime: new Date(job.time * 1000),
            authResults: job.payload,
            cv: job.cv,
        });
        return { fields: Buffer.from(made).toString('base64') };
    },
    async dmarc(job) {
        const told = await dmarc({
            headerFrom: [job.from],
            spfDomains: job.spf,
            dkimDomains: job.dkim.map(domain => ({ id: domain, domain })),
            resolver,
        });
        return { result: told.status.result, policy: told.policy || '' };
    },
};

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const job = JSON.parse(line);
        let told;
        try {
            told = await ops[job.op](job);
        } catch (err) {
            told = { error: String(err && err.message) };
        }
        process.stdout.write(`${JSON.stringify(told)}\n`);
    }
}

main();
