/*
 * smtp/client_ehlo.c - what a server offers: the lines of its EHLO reply (RFC 5321 4.1.1.1).
 *
 * Called by client_hello.c. Pure: text in, bits out; unknown keywords are passed over.
 */
#include "smtp/client_impl.h"

#define EHLO_LINES 200 /* lines looked at */

static void
ehlo_size(struct client_caps *caps, struct str args)
{
    uint64_t max;

    if (!str_u64(str_word(&args), &max))
        caps->max_size = max;
}

/* Lines may repeat ("AUTH PLAIN" and the old "AUTH=PLAIN"): the lists are joined. */
static void
ehlo_auth(struct client_caps *caps, struct str args)
{
    size_t n = strlen(caps->mechs);

    if (!args.n || str_has_ctl(args))
        return;
    str_fmt(caps->mechs + n, sizeof(caps->mechs) - n, "%s%.*s", n ? " " : "", STR_ARG(args));
}

/* RFC 9422: "LIMITS RCPTMAX=100 MAILMAX=5". */
static void
ehlo_limits(struct client_caps *caps, struct str args)
{
    struct str word;

    while ((word = str_word(&args)).n) {
        struct str value, key = str_cut(word, '=', &value);
        uint64_t n;

        if (str_u64(value, &n) || !n || n > 1000000)
            continue;
        if (str_ieq(key, STR("RCPTMAX")))
            caps->max_rcpts = (unsigned)n;
        else if (str_ieq(key, STR("MAILMAX")))
            caps->max_mails = (unsigned)n;
    }
}

/* RFC 2852: "DELIVERBY", or with the least time of mode R. */
static void
ehlo_by(struct client_caps *caps, struct str args)
{
    uint64_t least;

    if (!str_u64(str_word(&args), &least))
        caps->min_by = least;
}

static const struct ehlo_row {
    const char *keyword;
    uint32_t bit;
    void (*args)(struct client_caps *caps, struct str args);
} ehlo_rows[] = {
    {"PIPELINING", SMTP_OFFER_PIPELINING, NULL},
    {"8BITMIME", SMTP_OFFER_8BITMIME, NULL},
    {"SMTPUTF8", SMTP_OFFER_SMTPUTF8, NULL},
    {"CHUNKING", SMTP_OFFER_CHUNKING, NULL},
    {"DSN", SMTP_OFFER_DSN, NULL},
    {"SIZE", SMTP_OFFER_SIZE, ehlo_size},
    {"STARTTLS", SMTP_OFFER_STARTTLS, NULL},
    {"AUTH", SMTP_OFFER_AUTH, ehlo_auth},
    {"ENHANCEDSTATUSCODES", SMTP_OFFER_ENHANCED, NULL},
    {"LIMITS", SMTP_OFFER_LIMITS, ehlo_limits},
    {"REQUIRETLS", SMTP_OFFER_REQUIRETLS, NULL},
    {"BINARYMIME", SMTP_OFFER_BINARYMIME, NULL},
    {"DELIVERBY", SMTP_OFFER_DELIVERBY, ehlo_by},
    {"MT-PRIORITY", SMTP_OFFER_MT_PRIORITY, NULL},
};

void
client_caps_parse(struct client_caps *caps, struct str text)
{
    struct str line;

    memset(caps, 0, sizeof(*caps));
    str_cut(text, '\n', &text); /* the first line is the server's name */
    for (unsigned lines = 0; text.n && lines < EHLO_LINES; lines++) {
        struct str keyword;

        line = str_cut(text, '\n', &text);
        if (str_istarts(line, STR("AUTH="))) {
            caps->offers |= SMTP_OFFER_AUTH;
            ehlo_auth(caps, str_from(line, 5));
            continue;
        }
        keyword = str_word(&line);
        for (size_t i = 0; i < ARRAY_LEN(ehlo_rows); i++) {
            if (!str_ieq(keyword, str_c(ehlo_rows[i].keyword)))
                continue;
            caps->offers |= ehlo_rows[i].bit;
            if (ehlo_rows[i].args)
                ehlo_rows[i].args(caps, line);
        }
    }
}
