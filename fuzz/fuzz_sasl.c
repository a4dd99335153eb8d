/*
 * fuzz/fuzz_sasl.c - AUTH as strangers speak it: a mechanism, then responses to the server's side
 * or challenges to the client's, and stored verifiers from any text. Lines are the messages.
 */
#include "net/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ROUNDS 8

static struct sasl_verifier known;

static int
lookup(void *ctx, struct str user, struct sasl_verifier *ret)
{
    (void)ctx;
    if (!str_eq(user, STR("user")))
        return ERR_NOTFOUND;
    *ret = known;
    return 0;
}

static void
server(struct str mech, struct str lines, bool bound)
{
    static const uint8_t secret[32] = "for salts that are made up";
    struct sasl_server *s = sasl_server_create(mech, bound ? lookup : NULL, NULL, secret);
    struct sasl_binding binding = {.exporter = STR("exported"), .endpoint = STR("hash")};
    enum sasl_result result = SASL_CHALLENGE;
    struct str line, name, password;
    struct buf out;

    if (!s)
        return;
    buf_init(&out, 64u << 10);
    if (bound)
        sasl_server_bind(s, &binding, true);
    for (unsigned i = 0; i < ROUNDS && result == SASL_CHALLENGE; i++) {
        line = str_cut(lines, '\n', &lines);
        buf_clear(&out);
        result = sasl_server_step(s, i == 0 && !line.n ? STR_NONE : line, &out);
    }
    if (result == SASL_OK)
        ENSURE(sasl_server_user(s).n > 0);
    sasl_server_refusal(s);
    if (sasl_server_credentials(s, &name, &password))
        ENSURE(name.p || !name.n);
    buf_done(&out);
    sasl_server_free(s);
}

static void
client(struct str offered, struct str lines)
{
    struct sasl_client *c = sasl_client_create(offered, STR("user"), STR("pencil"), true);
    enum sasl_result result = SASL_CHALLENGE;
    struct str line = STR_NONE;
    struct buf out;

    if (!c)
        return;
    buf_init(&out, 64u << 10);
    for (unsigned i = 0; i < ROUNDS && result == SASL_CHALLENGE; i++) {
        buf_clear(&out);
        result = sasl_client_step(c, line, &out);
        line = str_cut(lines, '\n', &lines);
    }
    buf_done(&out);
    sasl_client_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str s = str_of((const char *)data, n), rest;
    struct sasl_verifier v, again;
    char text[SASL_VERIFIER_TEXT];

    if (!n)
        return 0;
    if (!known.iterations)
        ENSURE(sasl_verifier_make(STR("pencil"), 4096, &known) == 0);
    struct str first = str_cut(str_from(s, 1), '\n', &rest);
    switch (data[0] % 4) {
    case 0:
    case 1:
        server(first, rest, data[0] % 4);
        break;
    case 2:
        client(first, rest);
        break;
    default:
        if (sasl_verifier_parse(str_from(s, 1), &v) < 0)
            return 0;
        sasl_verifier_show(&v, text);
        ENSURE(sasl_verifier_parse(str_c(text), &again) == 0);
        ENSURE(again.iterations == v.iterations);
    }
    return 0;
}
