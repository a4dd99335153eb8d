/*
 * tests/unit/test_net_sasl.c - RFC 7677's example from both sides, verifiers, PLAIN, LOGIN, and
 * messages that are wrong.
 */
#include "core/codec.h"
#include "net/sasl_inner.h"
#include "tap.h"

static const uint8_t secret[32] = "a secret of thirty-two bytes...";

#define RFC_CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_FIRST        "n,,n=user,r=" RFC_CLIENT_NONCE
#define RFC_CHALLENGE    "r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_FINAL                                                                                  \
    "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",p=dHzbZapWIk4jUhN+"                            \
    "Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_PROOF "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

/* "pencil" with RFC 7677's salt. */
static int
rfc_verifier(struct sasl_verifier *ret)
{
    uint8_t salted[SCRAM_HASH], client[SCRAM_HASH];

    memset(ret, 0, sizeof(*ret));
    ret->iterations = 4096;
    codec_unbase64(STR("W22ZaJ0SNY7soEsUEjb6gQ=="), ret->salt, sizeof(ret->salt));
    sasl_salted(STR("pencil"), str_of(ret->salt, 16), 4096, salted);
    sasl_keys(salted, client, ret->stored_key, ret->server_key);
    return 0;
}

static int
lookup(void *ctx, struct str user, struct sasl_verifier *ret)
{
    (void)ctx;
    if (str_eq(user, STR("user")) || str_eq(user, STR("a=b,c")))
        return rfc_verifier(ret);
    return ERR_NOTFOUND;
}

static enum sasl_result
say(struct sasl_server *s, const char *text, size_t n, struct buf *out)
{
    buf_clear(out);
    return sasl_server_step(s, str_of(text, n), out);
}

static void
test_rfc7677(void)
{
    struct sasl_client *c =
        sasl_client_create(STR("LOGIN plain scram-sha-256"), STR("user"), STR("pencil"), true);
    struct sasl_server *s = sasl_server_create(STR("scram-sha-256"), lookup, NULL, secret);
    struct buf out;

    buf_init(&out, 4096);
    TEXT(str_c(sasl_client_mech(c)), "SCRAM-SHA-256", "the best is picked");
    sasl_client_set_nonce(c, RFC_CLIENT_NONCE);
    sasl_server_set_nonce(s, RFC_SERVER_NONCE);
    IS(sasl_client_step(c, STR_NONE, &out), SASL_CHALLENGE, "client begins");
    TEXT(buf_view(&out), RFC_FIRST, "client-first");
    IS(say(s, RFC_FIRST, strlen(RFC_FIRST), &out), SASL_CHALLENGE, "server goes on");
    TEXT(buf_view(&out), RFC_CHALLENGE, "server-first");
    buf_clear(&out);
    IS(sasl_client_step(c, STR(RFC_CHALLENGE), &out), SASL_CHALLENGE, "client proves");
    TEXT(buf_view(&out), RFC_FINAL, "client-final");
    IS(say(s, RFC_FINAL, strlen(RFC_FINAL), &out), SASL_OK, "server accepts");
    TEXT(buf_view(&out), RFC_PROOF, "server-final");
    TEXT(sasl_server_user(s), "user", "who it was");
    buf_clear(&out);
    IS(sasl_client_step(c, STR(RFC_PROOF), &out), SASL_OK, "client accepts");
    IS(out.n, 0, "with nothing more to say");
    IS(sasl_client_step(c, STR(RFC_PROOF), &out), SASL_FAIL, "nothing follows");
    IS(say(s, "x", 1, &out), SASL_FAIL, "on neither side");
    sasl_client_free(c);
    sasl_server_free(s);
    buf_done(&out);
}

/* Every message of the example with one thing wrong. */
static void
test_scram_wrong(void)
{
    static const char *const firsts[] = {
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,r=",
        "p=tls-unique,,n=user,r=x",
        "n,a=other,n=user,r=x",
        "n,,m=ext,n=user,r=x",
        "n,,n=us=er,r=x",
        "n,,n=,r=x",
        "n,,n=us\x01r,r=x",
        "n,,n=\xff,r=x",
        "n,,r=x,n=user",
        "z,,n=user,r=x",
    };
    static const char *const finals[] = {
        "",
        "c=biws",
        "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE,
        "c=eSws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
        ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=" RFC_CLIENT_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
        ",p=aHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",p=dHzb",
        "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",p=",
    };
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        struct sasl_server *s = sasl_server_create(STR("SCRAM-SHA-256"), lookup, NULL, secret);

        IS(say(s, firsts[i], strlen(firsts[i]), &out), SASL_FAIL, "client-first %zu", i);
        sasl_server_free(s);
    }
    for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
        struct sasl_server *s = sasl_server_create(STR("SCRAM-SHA-256"), lookup, NULL, secret);

        sasl_server_set_nonce(s, RFC_SERVER_NONCE);
        say(s, RFC_FIRST, strlen(RFC_FIRST), &out);
        IS(say(s, finals[i], strlen(finals[i]), &out), SASL_FAIL, "client-final %zu", i);
        sasl_server_free(s);
    }
    buf_done(&out);
}

static void
test_scram_wrong_server(void)
{
    static const char *const challenges[] = {
        "e=unknown-user",
        "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=" RFC_CLIENT_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=" RFC_CLIENT_NONCE "x,s=,i=4096",
        "r=" RFC_CLIENT_NONCE "x,s=W22Z,i=1",
        "r=" RFC_CLIENT_NONCE "x,s=W22Z,i=99999999",
        "r=" RFC_CLIENT_NONCE "x,s=W22Z,i=-5",
        "r=" RFC_CLIENT_NONCE "x,s=!!!!,i=4096",
        "r=" RFC_CLIENT_NONCE "x",
    };
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(challenges); i++) {
        struct sasl_client *c =
            sasl_client_create(STR("SCRAM-SHA-256"), STR("user"), STR("pencil"), true);

        buf_clear(&out);
        sasl_client_set_nonce(c, RFC_CLIENT_NONCE);
        sasl_client_step(c, STR_NONE, &out);
        IS(sasl_client_step(c, str_c(challenges[i]), &out), SASL_FAIL, "server-first %zu", i);
        sasl_client_free(c);
    }
    buf_done(&out);
}

static void
test_scram_server_proof(void)
{
    struct sasl_client *c =
        sasl_client_create(STR("SCRAM-SHA-256"), STR("user"), STR("pencil"), true);
    struct buf out;

    buf_init(&out, 4096);
    sasl_client_set_nonce(c, RFC_CLIENT_NONCE);
    sasl_client_step(c, STR_NONE, &out);
    sasl_client_step(c, STR(RFC_CHALLENGE), &out);
    IS(sasl_client_step(c, STR("v=aaaaTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &out), SASL_FAIL,
       "a server that does not know the password is found out");
    sasl_client_free(c);
    buf_done(&out);
}

/* A whole SCRAM login: the result on the server's side. */
static enum sasl_result
login(const char *user, const char *password, char *ret_salt)
{
    struct sasl_client *c =
        sasl_client_create(STR("SCRAM-SHA-256"), str_c(user), str_c(password), true);
    struct sasl_server *s = sasl_server_create(STR("SCRAM-SHA-256"), lookup, NULL, secret);
    struct buf a, b;
    enum sasl_result result;
    ssize_t at;

    buf_init(&a, 4096);
    buf_init(&b, 4096);
    IS(sasl_server_step(s, STR_NONE, &b), SASL_CHALLENGE, "no initial response: asked for one");
    IS(b.n, 0, "  with an empty challenge");
    sasl_client_step(c, STR_NONE, &a);
    sasl_server_step(s, buf_view(&a), &b);
    at = str_find(buf_view(&b), STR(",s="));
    str_copy(str_sub(buf_view(&b), (size_t)at, 27), ret_salt, 28);
    buf_clear(&a);
    sasl_client_step(c, buf_view(&b), &a);
    buf_clear(&b);
    result = sasl_server_step(s, buf_view(&a), &b);
    if (result == SASL_OK)
        TEXT(sasl_server_user(s), user, "the name comes through");
    sasl_client_free(c);
    sasl_server_free(s);
    buf_done(&a);
    buf_done(&b);
    return result;
}

static void
test_logins(void)
{
    char salt1[28], salt2[28], salt3[28];

    IS(login("user", "pencil", salt1), SASL_OK, "right password");
    IS(login("user", "pencils", salt1), SASL_FAIL, "wrong password");
    IS(login("a=b,c", "pencil", salt1), SASL_OK, "a name that needs escapes");
    IS(login("nobody", "pencil", salt1), SASL_FAIL, "unknown user");
    IS(login("nobody", "other", salt2), SASL_FAIL, "unknown user again");
    IS(login("NoBody", "other", salt3), SASL_FAIL, "in capitals");
    TEXT(str_c(salt1), salt2, "an unknown user's salt is steady");
    TEXT(str_c(salt1), salt3, "also in another case, as a known one's is");
    IS(login("noone", "other", salt3), SASL_FAIL, "another unknown user");
    OK(strcmp(salt1, salt3) != 0, "and his own");
}

static void
test_verifier(void)
{
    struct sasl_verifier v, w;
    char text[SASL_VERIFIER_TEXT];
    static const char *const wrong[] = {
        "",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$x:y",
        "SCRAM-SHA-256$9999999:W22ZaJ0SNY7soEsUEjb6gQ==$x:y",
        "SCRAM-SHA-1$4096:aa==$b:c",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
    };

    IS(sasl_verifier_make(STR("pencil"), 0, &v), 0, "made");
    IS(v.iterations, 4096, "4096 by default");
    sasl_verifier_show(&v, text);
    IS(sasl_verifier_parse(str_c(text), &w), 0, "shown and read: %s", text);
    OK(!memcmp(&v, &w, sizeof(v)), "  the same");
    OK(sasl_verifier_check(&w, STR("pencil")), "right password");
    OK(!sasl_verifier_check(&w, STR("pencil2")), "wrong password");
    OK(!sasl_verifier_check(&w, STR("")), "no password");
    rfc_verifier(&v);
    sasl_verifier_show(&v, text);
    TEXT(str_c(text),
         "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
         "PostgreSQL's text of the same");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        OK(sasl_verifier_parse(str_c(wrong[i]), &w) < 0, "wrong text %zu is refused", i);
    IS(sasl_verifier_make(STR("x"), 1, &v), ERR_LIMIT, "too few iterations");
}

static const struct plain_row {
    const char *text;
    size_t n;
    enum sasl_result want;
} plain_rows[] = {
    {"\0user\0pencil", 12, SASL_OK},
    {"user\0user\0pencil", 16, SASL_OK},
    {"other\0user\0pencil", 17, SASL_FAIL},
    {"\0user\0wrong", 11, SASL_FAIL},
    {"\0nobody\0pencil", 14, SASL_FAIL},
    {"\0user\0", 6, SASL_FAIL},
    {"\0\0pencil", 8, SASL_FAIL},
    {"user", 4, SASL_FAIL},
    {"\0user", 5, SASL_FAIL},
    {"\0user\0pen\0cil", 13, SASL_FAIL},
    {"", 0, SASL_FAIL},
};

static void
test_plain(void)
{
    struct sasl_server *s;
    struct sasl_client *c;
    struct str user, password;
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(plain_rows); i++) {
        s = sasl_server_create(STR("PLAIN"), lookup, NULL, secret);
        IS(say(s, plain_rows[i].text, plain_rows[i].n, &out), plain_rows[i].want, "PLAIN row %zu",
           i);
        sasl_server_free(s);
    }
    c = sasl_client_create(STR("PLAIN"), STR("user"), STR("pencil"), true);
    s = sasl_server_create(STR("PLAIN"), NULL, NULL, secret);
    IS(sasl_server_step(s, STR_NONE, &out), SASL_CHALLENGE, "asked for");
    buf_clear(&out);
    IS(sasl_client_step(c, STR_NONE, &out), SASL_OK, "client needs no proof");
    IS(say(s, out.p, out.n, &out), SASL_FAIL, "without a lookup nothing is accepted");
    buf_clear(&out);
    sasl_server_free(s);
    sasl_client_free(c);
    c = sasl_client_create(STR("PLAIN"), STR("user"), STR("pencil"), true);
    s = sasl_server_create(STR("PLAIN"), NULL, NULL, secret);
    sasl_client_step(c, STR_NONE, &out);
    IS(sasl_server_step(s, buf_view(&out), &out), SASL_FAIL, "no lookup");
    OK(sasl_server_credentials(s, &user, &password), "but name and password are there");
    TEXT(user, "user", "name");
    TEXT(password, "pencil", "password");
    IS(sasl_client_step(c, STR(""), &out), SASL_OK, "said again if asked again");
    IS(sasl_client_step(c, STR(""), &out), SASL_FAIL, "but once only");
    sasl_server_free(s);
    sasl_client_free(c);
    buf_done(&out);
}

static void
test_login(void)
{
    struct sasl_server *s = sasl_server_create(STR("LOGIN"), lookup, NULL, secret);
    struct sasl_client *c = sasl_client_create(STR("LOGIN"), STR("user"), STR("pencil"), true);
    struct buf out, in;

    buf_init(&out, 4096);
    buf_init(&in, 4096);
    IS(sasl_client_step(c, STR_NONE, &out), SASL_CHALLENGE, "LOGIN has no initial response");
    IS(out.n, 0, "  nothing");
    IS(sasl_server_step(s, STR_NONE, &in), SASL_CHALLENGE, "name asked for");
    TEXT(buf_view(&in), "Username:", "  in the usual words");
    IS(sasl_client_step(c, buf_view(&in), &out), SASL_CHALLENGE, "name said");
    buf_clear(&in);
    IS(sasl_server_step(s, buf_view(&out), &in), SASL_CHALLENGE, "password asked for");
    TEXT(buf_view(&in), "Password:", "  in the usual words");
    buf_clear(&out);
    IS(sasl_client_step(c, buf_view(&in), &out), SASL_OK, "password said");
    IS(sasl_server_step(s, buf_view(&out), &in), SASL_OK, "in");
    sasl_server_free(s);
    s = sasl_server_create(STR("LOGIN"), lookup, NULL, secret);
    sasl_server_step(s, STR("user"), &in);
    IS(sasl_server_step(s, STR("wrong"), &in), SASL_FAIL, "wrong password");
    sasl_server_free(s);
    s = sasl_server_create(STR("LOGIN"), lookup, NULL, secret);
    IS(sasl_server_step(s, STR(""), &in), SASL_FAIL, "no name");
    sasl_server_free(s);
    sasl_client_free(c);
    OK(!sasl_client_create(STR("PLAIN LOGIN"), STR("u"), STR("p"), false),
       "nothing fits that does not show the password");
    OK((c = sasl_client_create(STR("PLAIN SCRAM-SHA-256"), STR("u"), STR("p"), false)) != NULL &&
           strcmp(sasl_client_mech(c), "SCRAM-SHA-256") == 0,
       "SCRAM never shows it");
    sasl_client_free(c);
    OK(!sasl_client_create(STR("GSSAPI"), STR("u"), STR("p"), true), "nothing fits");
    OK(!sasl_client_create(STR("PLAIN"), str_of("u\0x", 3), STR("p"), true), "NUL in a name");
    OK(!sasl_server_create(STR("NTLM"), lookup, NULL, secret), "unknown method");
    buf_done(&out);
    buf_done(&in);
}

/* The client's last word with `binding` behind the header `gs2`; the result of the server. */
static enum sasl_result
bound_login(const char *mech, const char *gs2, struct str binding, bool offered)
{
    static const struct sasl_binding ours = {STR("exported"), STR("hashed")};
    struct sasl_server *s = sasl_server_create(str_c(mech), lookup, NULL, secret);
    uint8_t salted[SCRAM_HASH], key[SCRAM_HASH], stored[SCRAM_HASH], unused[SCRAM_HASH];
    uint8_t signature[SCRAM_HASH];
    char salt[16], first[200];
    struct buf out, final, plain;
    enum sasl_result result;
    struct str all;

    buf_init(&out, 4096);
    buf_init(&final, 4096);
    buf_init(&plain, 4096);
    sasl_server_bind(s, &ours, offered);
    sasl_server_set_nonce(s, RFC_SERVER_NONCE);
    str_fmt(first, sizeof(first), "%sn=user,r=" RFC_CLIENT_NONCE, gs2);
    result = sasl_server_step(s, str_c(first), &out);
    if (result == SASL_CHALLENGE) {
        TEXT(buf_view(&out), RFC_CHALLENGE, "the server's first message");
        buf_c(&plain, gs2);
        buf_str(&plain, binding);
        buf_c(&final, "c=");
        codec_base64(&final, buf_view(&plain));
        buf_c(&final, ",r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE);
        buf_clear(&plain);
        buf_c(&plain, first + strlen(gs2));
        buf_c(&plain, "," RFC_CHALLENGE ",");
        buf_str(&plain, buf_view(&final));
        codec_unbase64(STR("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, sizeof(salt));
        sasl_salted(STR("pencil"), str_of(salt, 16), 4096, salted);
        sasl_keys(salted, key, stored, unused);
        sasl_hmac(stored, SCRAM_HASH, buf_view(&plain), signature);
        for (unsigned i = 0; i < SCRAM_HASH; i++)
            key[i] ^= signature[i];
        buf_c(&final, ",p=");
        codec_base64(&final, str_of((const char *)key, SCRAM_HASH));
        all = buf_view(&final);
        result = sasl_server_step(s, all, &out);
    }
    buf_done(&out);
    buf_done(&final);
    buf_done(&plain);
    sasl_server_free(s);
    return result;
}

static void
test_scram_plus(void)
{
    static const struct {
        const char *mech, *gs2;
        struct str binding;
        bool offered;
        enum sasl_result want;
        const char *what;
    } cases[] = {
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,", STR("exported"), true, SASL_OK, "exporter"},
        {"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", STR("hashed"), true, SASL_OK,
         "end point"},
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,", STR("hashed"), true, SASL_FAIL,
         "one in the place of the other"},
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,", STR("exporter"), true, SASL_FAIL,
         "another connection's"},
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,", STR(""), true, SASL_FAIL, "none"},
        {"SCRAM-SHA-256-PLUS", "p=tls-unique,,", STR("exported"), true, SASL_FAIL, "unknown"},
        {"SCRAM-SHA-256-PLUS", "n,,", STR(""), true, SASL_FAIL, "unbound by its flag"},
        {"SCRAM-SHA-256", "n,,", STR(""), true, SASL_OK, "a client that cannot"},
        {"SCRAM-SHA-256", "y,,", STR(""), false, SASL_OK, "none was offered"},
        {"SCRAM-SHA-256", "y,,", STR(""), true, SASL_FAIL, "the offer was taken out on the way"},
        {"SCRAM-SHA-256", "p=tls-exporter,,", STR("exported"), true, SASL_FAIL, "wrong mechanism"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        IS(bound_login(cases[i].mech, cases[i].gs2, cases[i].binding, cases[i].offered),
           cases[i].want, "%s: %s", cases[i].mech, cases[i].what);
}

static void
test_bearer(void)
{
    static const struct {
        const char *mech, *response;
        const char *user; /* NULL: refused */
    } cases[] = {
        {"OAUTHBEARER", "n,a=user@x.test,\1host=h\1port=587\1auth=Bearer to.ken\1\1",
         "user@x.test"},
        {"OAUTHBEARER", "n,,\1auth=Bearer to.ken\1\1", ""},
        {"OAUTHBEARER", "y,a=a=2Cb,\1auth=Bearer t\1\1", "a,b"},
        {"OAUTHBEARER", "p=tls-exporter,,\1auth=Bearer t\1\1", NULL},
        {"OAUTHBEARER", "n,a=user,\1auth=Bearer \1\1", NULL},
        {"OAUTHBEARER", "n,a=user,\1auth=Basic t\1\1", NULL},
        {"OAUTHBEARER", "n,a=user,\1auth=Bearer t\1", NULL},
        {"OAUTHBEARER", "", NULL},
        {"XOAUTH2", "user=user@x.test\1auth=Bearer to.ken\1\1", "user@x.test"},
        {"XOAUTH2", "user=\1auth=Bearer t\1\1", ""},
        {"XOAUTH2", "n,a=user,\1auth=Bearer t\1\1", NULL},
    };
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sasl_server *s = sasl_server_create(str_c(cases[i].mech), lookup, NULL, secret);
        struct str user, token;
        bool there;

        IS(sasl_server_step(s, str_c(cases[i].response), &out), SASL_FAIL, "never ours to accept");
        there = sasl_server_credentials(s, &user, &token);
        IS(there, cases[i].user != NULL, "%s %zu: a token", cases[i].mech, i);
        if (there && cases[i].user) {
            TEXT(user, cases[i].user, "%s: name", cases[i].mech);
            TEXT(token, cases[i].response, "%s: response", cases[i].mech);
        }
        OK(sasl_server_refusal(s).n > 0, "and words for its refusal");
        sasl_server_free(s);
    }
    buf_done(&out);
}

int
main(void)
{
    test_rfc7677();
    test_scram_wrong();
    test_scram_wrong_server();
    test_scram_server_proof();
    test_logins();
    test_verifier();
    test_plain();
    test_login();
    test_scram_plus();
    test_bearer();
    return tap_done();
}
