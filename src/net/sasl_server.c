/*
 * net/sasl_server.c - the server's half of PLAIN, LOGIN, SCRAM-SHA-256 with and without binding to
 * the TLS connection, and of bearer tokens, which others check.
 *
 * Called by the keyring role (and by tests' servers): one object per login, one step per message.
 * An unknown user gets a made-up verifier that stays the same, so that neither the salt shown nor
 * the time taken tells who exists. No authorisation as somebody else: authzid must be the user.
 */
#include "core/openssl.h"

#include "core/codec.h"
#include "net/sasl_inner.h"

struct sasl_server;
struct sasl_server_row {
    const char *mech;
    bool plus;           /* binds */
    const char *refusal; /* see sasl_server_refusal() */
    enum sasl_result (*step)(struct sasl_server *s, struct str response, struct buf *out);
};

struct sasl_server {
    const struct sasl_server_row *row;
    sasl_lookup *lookup;
    void *ctx;
    uint8_t secret[32];
    unsigned step;
    bool over, has_password;
    char user[SASL_USER_MAX + 1];
    size_t user_n;
    char password[SASL_PASSWORD_MAX + 1];
    size_t password_n;
    /* SCRAM */
    bool known;
    struct sasl_verifier verifier;
    char fixed_nonce[SASL_NONCE_TEXT];
    bool plus_offered;
    uint8_t exporter[SASL_BINDING_MAX], endpoint[SASL_BINDING_MAX];
    size_t exporter_n, endpoint_n;
    struct str binding;    /* the one of these that the client chose */
    struct buf token;      /* OAUTHBEARER, XOAUTH2: the response */
    struct buf nonce;      /* the client's and ours */
    struct buf gs2;        /* header as sent */
    struct buf transcript; /* client-first-bare , server-first */
};

/* The verifier to work with: the stored one, or a steady made-up one. */
static bool
server_find(struct sasl_server *s)
{
    struct str user = str_of(s->user, s->user_n);
    char folded[SASL_USER_MAX + 1];
    uint8_t made[SCRAM_HASH];

    memset(&s->verifier, 0, sizeof(s->verifier));
    s->known = s->lookup && s->lookup(s->ctx, user, &s->verifier) == 0;
    if (s->known)
        return true;
    /* Logins are folded, so a made-up salt must not change with the case of letters either. */
    memcpy(folded, s->user, s->user_n);
    str_lower(folded, s->user_n);
    if (!sasl_hmac(s->secret, sizeof(s->secret), str_of(folded, s->user_n), made))
        return false;
    memcpy(s->verifier.salt, made, sizeof(s->verifier.salt));
    memcpy(s->verifier.stored_key, made, SCRAM_HASH);
    s->verifier.iterations = SASL_ITERATIONS;
    return true;
}

static bool
server_take_user(struct sasl_server *s, struct str user)
{
    if (!sasl_name_ok(user))
        return false;
    memcpy(s->user, user.p, user.n);
    s->user_n = user.n;
    return true;
}

static enum sasl_result
server_check_password(struct sasl_server *s, struct str password)
{
    bool good;

    if (!password.n || password.n > SASL_PASSWORD_MAX || memchr(password.p, 0, password.n))
        return SASL_FAIL;
    memcpy(s->password, password.p, password.n);
    s->password_n = password.n;
    s->has_password = true;
    if (!s->lookup || !server_find(s))
        return SASL_FAIL;
    good = sasl_verifier_check(&s->verifier, password);
    return good && s->known ? SASL_OK : SASL_FAIL;
}

/* --- PLAIN: authzid NUL authcid NUL password --- */

static enum sasl_result
server_plain(struct sasl_server *s, struct str response, struct buf *out)
{
    struct str authzid, user, password;

    (void)out;
    if (!response.p && s->step == 1)
        return SASL_CHALLENGE; /* an empty one asks for it */
    if (s->step > 2)
        return SASL_FAIL;
    if (str_chr(response, '\0') < 0)
        return SASL_FAIL;
    authzid = str_cut(response, '\0', &user);
    if (str_chr(user, '\0') < 0)
        return SASL_FAIL;
    user = str_cut(user, '\0', &password);
    if (!server_take_user(s, user) || (authzid.n && !str_eq(authzid, user)))
        return SASL_FAIL;
    return server_check_password(s, password);
}

/* --- LOGIN --- */

static enum sasl_result
server_login(struct sasl_server *s, struct str response, struct buf *out)
{
    if (!response.p && s->step == 1) {
        buf_c(out, "Username:");
        return SASL_CHALLENGE;
    }
    if (!s->user_n) {
        if (!server_take_user(s, response))
            return SASL_FAIL;
        buf_c(out, "Password:");
        return SASL_CHALLENGE;
    }
    return server_check_password(s, response);
}

/* --- SCRAM-SHA-256 --- */

/* "=2C" and "=3D" back to what they stand for; any other '=' is an error. */
static bool
scram_user(struct sasl_server *s, struct str name)
{
    char user[SASL_USER_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];

        if (n == SASL_USER_MAX)
            return false;
        if (ch == '=') {
            struct str code = str_sub(name, i, 3);

            if (!str_eq(code, STR("=2C")) && !str_eq(code, STR("=3D")))
                return false;
            ch = code.p[1] == '2' ? ',' : '=';
            i += 2;
        }
        user[n++] = ch;
    }
    return server_take_user(s, str_of(user, n));
}

/* The client's word on binding (RFC 5802 6): "n" it cannot, "y" it could and believes that we
 * cannot, "p=..." it does. */
static bool
scram_flag_ok(struct sasl_server *s, struct str flag)
{
    if (str_eq(flag, STR("n")))
        return !s->row->plus;
    if (str_eq(flag, STR("y")))
        return !s->row->plus && !s->plus_offered;
    if (!s->row->plus)
        return false;
    if (str_eq(flag, STR("p=tls-exporter")))
        s->binding = str_of((const char *)s->exporter, s->exporter_n);
    else if (str_eq(flag, STR("p=tls-server-end-point")))
        s->binding = str_of((const char *)s->endpoint, s->endpoint_n);
    return s->binding.n > 0;
}

static enum sasl_result
scram_first(struct sasl_server *s, struct str response, struct buf *out)
{
    struct str rest, flag = str_cut(response, ',', &rest);
    struct str authzid, bare, user, nonce;
    char own[SASL_NONCE_TEXT];

    if (!scram_flag_ok(s, flag))
        return SASL_FAIL;
    authzid = str_cut(rest, ',', &bare);
    buf_add(&s->gs2, response.p, response.n - bare.n);
    rest = bare;
    if (!scram_attr(&rest, 'n', &user) || !scram_attr(&rest, 'r', &nonce) || !nonce.n ||
        nonce.n > 512 || !str_is_ascii(nonce) || str_has_ctl(nonce) || !scram_user(s, user))
        return SASL_FAIL;
    if (authzid.n && (!str_starts(authzid, STR("a=")) || !str_eq(str_from(authzid, 2), user)))
        return SASL_FAIL;
    if (!server_find(s) || !sasl_nonce(own))
        return SASL_FAIL;
    buf_str(&s->nonce, nonce);
    buf_c(&s->nonce, s->fixed_nonce[0] ? s->fixed_nonce : own);
    buf_c(out, "r=");
    buf_str(out, buf_view(&s->nonce));
    buf_c(out, ",s=");
    codec_base64(out, str_of(s->verifier.salt, sizeof(s->verifier.salt)));
    buf_c(out, ",i=");
    buf_u64(out, s->verifier.iterations);
    buf_str(&s->transcript, bare);
    buf_char(&s->transcript, ',');
    buf_str(&s->transcript, buf_view(out));
    return s->nonce.failed || s->gs2.failed || s->transcript.failed ? SASL_FAIL : SASL_CHALLENGE;
}

/* The header comes back in base64, and behind it what the client sees of the connection: both must
 * be ours, or somebody stands between. */
static bool
scram_binding_ok(const struct sasl_server *s, struct str binding)
{
    char raw[512 + SASL_BINDING_MAX];
    ssize_t n = codec_unbase64(binding, raw, sizeof(raw));
    struct str gs2 = buf_view(&s->gs2);

    return n >= 0 && (size_t)n == gs2.n + s->binding.n && str_eq(str_of(raw, gs2.n), gs2) &&
           (!s->binding.n || sasl_same(raw + gs2.n, s->binding.p, s->binding.n));
}

static bool
scram_proof_ok(const struct sasl_server *s, struct str proof)
{
    uint8_t key[SCRAM_HASH], signature[SCRAM_HASH], stored[SCRAM_HASH];

    if (codec_unbase64(proof, key, sizeof(key)) != SCRAM_HASH ||
        !sasl_hmac(s->verifier.stored_key, SCRAM_HASH, buf_view(&s->transcript), signature))
        return false;
    for (unsigned i = 0; i < SCRAM_HASH; i++)
        key[i] ^= signature[i];
    return sasl_hash(key, sizeof(key), stored) &&
           sasl_same(stored, s->verifier.stored_key, SCRAM_HASH);
}

static enum sasl_result
scram_final(struct sasl_server *s, struct str response, struct buf *out)
{
    struct str rest = response, binding, nonce, proof;
    ssize_t at = str_find(response, STR(",p="));
    uint8_t signature[SCRAM_HASH];

    if (at < 0 || !scram_attr(&rest, 'c', &binding) || !scram_attr(&rest, 'r', &nonce))
        return SASL_FAIL;
    proof = str_from(response, (size_t)at + 3);
    if (!scram_binding_ok(s, binding) || !str_eq(nonce, buf_view(&s->nonce)))
        return SASL_FAIL;
    buf_char(&s->transcript, ',');
    buf_add(&s->transcript, response.p, (size_t)at);
    if (s->transcript.failed || !scram_proof_ok(s, proof) || !s->known)
        return SASL_FAIL;
    if (!sasl_hmac(s->verifier.server_key, SCRAM_HASH, buf_view(&s->transcript), signature))
        return SASL_FAIL;
    buf_c(out, "v=");
    codec_base64(out, str_of(signature, sizeof(signature)));
    return out->failed ? SASL_FAIL : SASL_OK;
}

static enum sasl_result
server_scram(struct sasl_server *s, struct str response, struct buf *out)
{
    if (!response.p && s->step == 1)
        return SASL_CHALLENGE;
    if (!s->nonce.n)
        return scram_first(s, response, out);
    return scram_final(s, response, out);
}

/* --- OAUTHBEARER and XOAUTH2: the token is for others to check --- */

/* ^A key=value ^A ... ^A ^A, and a Bearer token among it. */
static bool
bearer_ok(struct str pairs)
{
    static const char end[] = "\1\1", key[] = "\1auth=Bearer ";
    ssize_t at = str_find(pairs, str_of(key, sizeof(key) - 1));

    return str_ends(pairs, str_of(end, 2)) && at >= 0 && (size_t)at + sizeof(key) + 1 < pairs.n &&
           !memchr(pairs.p, 0, pairs.n);
}

static enum sasl_result
server_bearer(struct sasl_server *s, struct str response, struct str user, struct str pairs)
{
    if ((user.n && !scram_user(s, user)) || !bearer_ok(pairs))
        return SASL_FAIL;
    buf_str(&s->token, response);
    s->has_password = !s->token.failed;
    return SASL_FAIL; /* whoever asks for the credentials knows better */
}

/* gs2-header kvsep *kvpair kvsep: "n,a=user," before the pairs (RFC 7628 3.1). */
static enum sasl_result
server_oauthbearer(struct sasl_server *s, struct str response, struct buf *out)
{
    struct str rest, flag, authzid;

    (void)out;
    if (!response.p && s->step == 1)
        return SASL_CHALLENGE;
    flag = str_cut(response, ',', &rest);
    authzid = str_cut(rest, ',', &rest);
    if ((!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))) ||
        (authzid.n && !str_starts(authzid, STR("a="))))
        return SASL_FAIL;
    return server_bearer(s, response, authzid.n ? str_from(authzid, 2) : authzid, rest);
}

/* "user=" name ^A "auth=Bearer " token ^A ^A: what came before the RFC, and stayed. */
static enum sasl_result
server_xoauth2(struct sasl_server *s, struct str response, struct buf *out)
{
    ssize_t at;

    (void)out;
    if (!response.p && s->step == 1)
        return SASL_CHALLENGE;
    at = str_chr(response, '\1');
    if (at < 5 || !str_starts(response, STR("user=")))
        return SASL_FAIL;
    return server_bearer(s, response, str_sub(response, 5, (size_t)at - 5),
                         str_from(response, (size_t)at));
}

static const struct sasl_server_row server_rows[] = {
    {.mech = "SCRAM-SHA-256-PLUS", .plus = true, .step = server_scram},
    {.mech = "SCRAM-SHA-256", .step = server_scram},
    {.mech = "PLAIN", .step = server_plain},
    {.mech = "LOGIN", .step = server_login},
    {.mech = "OAUTHBEARER",
     .step = server_oauthbearer,
     .refusal = "{\"status\":\"invalid_token\"}"},
    {.mech = "XOAUTH2",
     .step = server_xoauth2,
     .refusal = "{\"status\":\"401\",\"schemes\":\"bearer\"}"},
};

struct sasl_server *
sasl_server_create(struct str mech, sasl_lookup *lookup, void *ctx, const uint8_t secret[32])
{
    struct sasl_server *s;

    for (size_t i = 0; i < ARRAY_LEN(server_rows); i++) {
        if (!str_ieq(mech, str_c(server_rows[i].mech)))
            continue;
        s = calloc(1, sizeof(*s));
        if (!s)
            return NULL;
        s->row = &server_rows[i];
        s->lookup = lookup;
        s->ctx = ctx;
        memcpy(s->secret, secret, sizeof(s->secret));
        buf_init(&s->nonce, 1024);
        buf_init(&s->gs2, 512);
        buf_init(&s->transcript, SASL_MESSAGE_MAX);
        buf_init(&s->token, SASL_MESSAGE_MAX);
        return s;
    }
    return NULL;
}

void
sasl_server_free(struct sasl_server *s)
{
    if (!s)
        return;
    buf_done(&s->nonce);
    buf_done(&s->gs2);
    buf_done(&s->transcript);
    if (s->token.p)
        OPENSSL_cleanse(s->token.p, s->token.cap);
    buf_done(&s->token);
    OPENSSL_cleanse(s, sizeof(*s));
    free(s);
}

enum sasl_result
sasl_server_step(struct sasl_server *s, struct str response, struct buf *out)
{
    enum sasl_result result;

    if (s->over)
        return SASL_FAIL;
    s->step++;
    if (response.n > SASL_MESSAGE_MAX || (!response.p && s->step > 1))
        response = STR_NONE;
    if (!response.p && s->step > 1)
        response = STR(""); /* an empty line is an empty response */
    result = s->row->step(s, response, out);
    s->over = result != SASL_CHALLENGE;
    return result;
}

struct str
sasl_server_user(const struct sasl_server *s)
{
    return str_of(s->user, s->user_n);
}

bool
sasl_server_credentials(const struct sasl_server *s, struct str *ret_user, struct str *ret_password)
{
    if (!s->has_password)
        return false;
    *ret_user = str_of(s->user, s->user_n);
    *ret_password = s->token.n ? buf_view(&s->token) : str_of(s->password, s->password_n);
    return true;
}

struct str
sasl_server_refusal(const struct sasl_server *s)
{
    return s->row->refusal ? str_c(s->row->refusal) : STR_NONE;
}

void
sasl_server_bind(struct sasl_server *s, const struct sasl_binding *b, bool offered)
{
    s->plus_offered = offered;
    s->exporter_n = MIN(b->exporter.n, sizeof(s->exporter));
    s->endpoint_n = MIN(b->endpoint.n, sizeof(s->endpoint));
    if (s->exporter_n)
        memcpy(s->exporter, b->exporter.p, s->exporter_n);
    if (s->endpoint_n)
        memcpy(s->endpoint, b->endpoint.p, s->endpoint_n);
}

void
sasl_server_set_nonce(struct sasl_server *s, const char *nonce)
{
    str_copy(str_c(nonce), s->fixed_nonce, sizeof(s->fixed_nonce));
}
