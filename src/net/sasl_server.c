/*
 * net/sasl_server.c - the server's half of PLAIN, LOGIN and SCRAM-SHA-256.
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

static enum sasl_result
scram_first(struct sasl_server *s, struct str response, struct buf *out)
{
    struct str rest, flag = str_cut(response, ',', &rest);
    struct str authzid, bare, user, nonce;
    char own[SASL_NONCE_TEXT];

    /* No channel binding is offered, so "p=" cannot be meant for us (RFC 5802 6). */
    if (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y")))
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

/* The header comes back in base64: it must be the one of the first message. */
static bool
scram_binding_ok(const struct sasl_server *s, struct str binding)
{
    char raw[512];
    ssize_t n = codec_unbase64(binding, raw, sizeof(raw));

    return n >= 0 && str_eq(str_of(raw, (size_t)n), buf_view(&s->gs2));
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

static const struct sasl_server_row server_rows[] = {
    {"SCRAM-SHA-256", server_scram},
    {"PLAIN", server_plain},
    {"LOGIN", server_login},
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
    *ret_password = str_of(s->password, s->password_n);
    return true;
}

void
sasl_server_set_nonce(struct sasl_server *s, const char *nonce)
{
    str_copy(str_c(nonce), s->fixed_nonce, sizeof(s->fixed_nonce));
}
