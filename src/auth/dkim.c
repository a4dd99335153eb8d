/*
 * auth/dkim.c - names and texts of DKIM's results, and the default ceilings.
 *
 * Called by every file of DKIM and ARC and by those who show results. Knows no message.
 */
#include "auth/dkim.h"

const struct dkim_limits dkim_limits_default = {
    .signatures = 10,
    .fields = 1000,
    .signed_names = 256,
    .signature_bytes = 16384,
    .record_bytes = 8192,
    .min_bits = 1024,
    .max_bits = 8192,
    .skew = 300,
    .future = 86400,
};

static const char *const alg_names[] = {
    [DKIM_RSA_SHA256] = "rsa-sha256",
    [DKIM_ED25519_SHA256] = "ed25519-sha256",
    [DKIM_RSA_SHA1] = "rsa-sha1",
};

const char *
dkim_alg_name(enum dkim_alg alg)
{
    return (unsigned)alg < ARRAY_LEN(alg_names) ? alg_names[alg] : "unknown";
}

enum dkim_alg
dkim_alg_of(struct str name)
{
    for (unsigned i = 0; i < ARRAY_LEN(alg_names); i++)
        if (str_eq(name, str_c(alg_names[i])))
            return (enum dkim_alg)i;
    return DKIM_ALG_NONE;
}

const char *
dkim_canon_name(enum dkim_canon canon)
{
    return canon == DKIM_SIMPLE ? "simple" : "relaxed";
}

const char *
dkim_status_name(enum dkim_status status)
{
    static const char *const names[] = {
        [DKIM_PASS] = "pass",     [DKIM_FAIL] = "fail",           [DKIM_NEUTRAL] = "neutral",
        [DKIM_POLICY] = "policy", [DKIM_TEMPERROR] = "temperror", [DKIM_PERMERROR] = "permerror",
    };

    return (unsigned)status < ARRAY_LEN(names) ? names[status] : "unknown";
}

static const struct {
    enum dkim_status status;
    const char *text;
} reasons[DKIM_REASONS] = {
    [DKIM_OK] = {DKIM_PASS, "verified"},
    [DKIM_BAD_TAGS] = {DKIM_PERMERROR, "the tag list of the signature is malformed"},
    [DKIM_MISSING_TAG] = {DKIM_PERMERROR, "a required tag of the signature is missing"},
    [DKIM_BAD_VERSION] = {DKIM_PERMERROR, "the version of the signature is not 1"},
    [DKIM_UNKNOWN_ALGORITHM] = {DKIM_NEUTRAL, "the algorithm of the signature is unknown"},
    [DKIM_BAD_CANON] = {DKIM_PERMERROR, "c= names an unknown canonicalization"},
    [DKIM_BAD_DOMAIN] = {DKIM_PERMERROR, "d= or s= is no domain name"},
    [DKIM_BAD_IDENTITY] = {DKIM_PERMERROR, "i= does not belong to the domain in d="},
    [DKIM_BAD_QUERY] = {DKIM_NEUTRAL, "q= offers no way to the key but unknown ones"},
    [DKIM_BAD_TIME] = {DKIM_PERMERROR, "t= or x= is no time, or x= is not later than t="},
    [DKIM_BAD_LENGTH] = {DKIM_PERMERROR, "l= is no length"},
    [DKIM_BAD_BASE64] = {DKIM_PERMERROR, "b= or bh= is not base64 of the right length"},
    [DKIM_BAD_HEADERS] = {DKIM_PERMERROR, "h= is no list of header fields, or is too long"},
    [DKIM_FROM_UNSIGNED] = {DKIM_PERMERROR, "From is not signed"},
    [DKIM_TOO_LARGE] = {DKIM_PERMERROR, "the signature or the header is larger than allowed"},
    [DKIM_TOO_MANY] = {DKIM_POLICY, "more signatures than are looked at"},
    [DKIM_BAD_INSTANCE] = {DKIM_PERMERROR, "i= is no instance from 1 to 50"},
    [DKIM_NO_KEY] = {DKIM_PERMERROR, "the domain publishes no such key"},
    [DKIM_KEY_SYNTAX] = {DKIM_PERMERROR, "the key record is malformed"},
    [DKIM_KEY_REVOKED] = {DKIM_PERMERROR, "the key is revoked"},
    [DKIM_KEY_TYPE] = {DKIM_PERMERROR, "the key is of another type than the signature"},
    [DKIM_KEY_HASH] = {DKIM_PERMERROR, "the key may not be used with this hash"},
    [DKIM_KEY_SERVICE] = {DKIM_PERMERROR, "the key is not for mail"},
    [DKIM_KEY_TOO_LARGE] = {DKIM_PERMERROR, "the key is larger than allowed"},
    [DKIM_KEY_IDENTITY] = {DKIM_PERMERROR, "the key may not sign for subdomains (t=s)"},
    [DKIM_DNS] = {DKIM_TEMPERROR, "the key could not be looked up"},
    [DKIM_EXPIRED] = {DKIM_FAIL, "the signature has expired"},
    [DKIM_FUTURE] = {DKIM_FAIL, "the signature was made in the future"},
    [DKIM_BODY_CHANGED] = {DKIM_FAIL, "the body was changed after signing"},
    [DKIM_BODY_TOO_SHORT] = {DKIM_FAIL, "the body is shorter than l= says"},
    [DKIM_BAD_SIGNATURE] = {DKIM_FAIL, "the signature does not fit header and key"},
    [DKIM_WEAK_HASH] = {DKIM_POLICY, "rsa-sha1 proves nothing any more"},
    [DKIM_WEAK_KEY] = {DKIM_POLICY, "the key is too short"},
    [DKIM_BODY_UNSIGNED] = {DKIM_POLICY, "a part of the body is not signed (l=)"},
    [DKIM_SECOND_FROM] = {DKIM_POLICY, "there is a From field that is not signed"},
    [DKIM_SECOND_TYPE] = {DKIM_POLICY, "there is a Content-Type field that is not signed"},
    [DKIM_INTERNAL] = {DKIM_TEMPERROR, "out of memory or refused by the crypto library"},
};

const char *
dkim_reason_text(enum dkim_reason reason)
{
    return (unsigned)reason < DKIM_REASONS ? reasons[reason].text : "unknown";
}

enum dkim_status
dkim_reason_status(enum dkim_reason reason)
{
    return (unsigned)reason < DKIM_REASONS ? reasons[reason].status : DKIM_PERMERROR;
}
