// Sends with nodemailer as programs do; the last line on stdout is what it was told, as JSON.
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const given = JSON.parse(process.argv[2]);
const options = {
    host: given.host,
    port: given.port,
    secure: given.case === 'wrapped',
    requireTLS: given.case === 'requiretls',
    name: 'client.test',
    auth: { user: given.user, pass: given.pass },
    tls: { ca: fs.readFileSync(given.ca), servername: 'mx.gapura.test' },
};
const base = {
    from: 'Alice <alice@inside.test>',
    to: 'bob@outside.test',
    subject: 'by nodemailer',
    text: 'hello\n.\n.dot\n',
};

async function main() {
    const pooled = given.case === 'pool';
    const transport = nodemailer.createTransport(pooled ? { ...options, pool: true, maxConnections: 4, maxMessages: 5 } : options);
    let mails = [base];
    if (pooled) mails = Array.from({ length: 40 }, (_, i) => ({ ...base, subject: `pooled ${i}` }));
    if (given.case === 'attachments') {
        mails = [{ ...base, html: '<p>hello</p>', attachments: [
            { filename: 'data.bin', content: Buffer.alloc(200000, 7) },
            { filename: 'naïve name.txt', content: 'text' },
        ] }];
    }
    if (given.case === 'smtputf8') mails = [{ ...base, to: 'bøb@outside.test', subject: 'grüße' }];
    if (given.case === 'dsn') {
        mails = [{ ...base, dsn: { id: 'nodemailer-1', return: 'headers', notify: ['failure', 'delay'], recipient: 'alice@inside.test' } }];
    }
    const replies = await Promise.all(mails.map((mail) => transport.sendMail(mail)));
    transport.close();
    console.log(JSON.stringify({ accepted: replies.reduce((n, r) => n + r.accepted.length, 0), last: replies[0].response }));
}

main().catch((error) => { console.error(error); process.exit(1); });
