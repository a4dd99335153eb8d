/*
 * tests/support/lib/curl_command.c - curl's command line read as an order to send a message.
 *
 * Called by cases_curl.c. What asks for a feature that we do not have is answered with the reason.
 */
#include "curl_command.h"

/* Next word as a shell would take it: quotes, and backslash before quote or backslash. */
bool
curl_word(struct str *rest, struct buf *all, struct str *ret)
{
    size_t at = all->n, i = 0;
    char quote = 0;

    while (i < rest->n && (rest->p[i] == ' ' || rest->p[i] == '\n' || rest->p[i] == '\t'))
        i++;
    if (i == rest->n)
        return false;
    for (; i < rest->n; i++) {
        char c = rest->p[i];

        if (!quote && (c == ' ' || c == '\n' || c == '\t'))
            break;
        if (c == quote)
            quote = 0;
        else if (!quote && (c == '"' || c == '\''))
            quote = c;
        else if (c == '\\' && quote != '\'' && i + 1 < rest->n)
            buf_char(all, rest->p[++i]);
        else
            buf_char(all, c);
    }
    *rest = str_from(*rest, i);
    *ret = str_of(all->p + at, all->n - at);
    return true;
}

static const char *
take_url(struct order *o, struct str url)
{
    if (!str_starts(url, STR("smtp://")) && !str_starts(url, STR("smtps://")))
        return "the URL is not smtp";
    if (str_chr(url, '@') >= 0)
        return "login inside the URL (methods chosen by curl's option)";
    o->url = url;
    return NULL;
}
static const char *
take_from(struct order *o, struct str v)
{
    o->from = v;
    return NULL;
}
static const char *
take_rcpt(struct order *o, struct str v)
{
    if (o->nrcpt == MAX_RCPTS)
        return "more recipients than this reader takes";
    o->rcpts[o->nrcpt++] = v;
    return NULL;
}
static const char *
take_upload(struct order *o, struct str v)
{
    o->upload = v;
    o->has_upload = true;
    return NULL;
}
static const char *
take_user(struct order *o, struct str v)
{
    o->user = str_cut(v, ':', &o->password);
    return NULL;
}
static const char *
take_allow(struct order *o, struct str v)
{
    (void)v;
    o->allow_fails = true;
    return NULL;
}
static const char *
take_crlf(struct order *o, struct str v)
{
    (void)v;
    o->crlf = true;
    return NULL;
}
static const char *
take_tls(struct order *o, struct str v)
{
    (void)v;
    o->tls = TLS_TRY;
    return NULL;
}
static const char *
take_tls_need(struct order *o, struct str v)
{
    (void)v;
    o->tls = TLS_NEED;
    return NULL;
}
static const char *
take_sasl_ir(struct order *o, struct str v)
{
    (void)v;
    o->sasl_ir = true;
    return NULL;
}
static const char *
take_nothing(struct order *o, struct str v)
{
    (void)o;
    (void)v;
    return NULL;
}

static const struct option {
    const char *name, *word; /* word: in a config file */
    bool argument;
    const char *(*take)(struct order *o, struct str v); /* NULL: `why` */
    const char *why;
} options[] = {
    {"--mail-from", "mail-from", true, take_from, NULL},
    {"--mail-rcpt", "mail-rcpt", true, take_rcpt, NULL},
    {"-T", "upload-file", true, take_upload, NULL},
    {"-u", "user", true, take_user, NULL},
    {"--mail-rcpt-allowfails", "mail-rcpt-allowfails", false, take_allow, NULL},
    {"--crlf", "crlf", false, take_crlf, NULL},
    {"--ssl", "ssl", false, take_tls, NULL},
    {"--ssl-reqd", "ssl-reqd", false, take_tls_need, NULL},
    {"--sasl-ir", "sasl-ir", false, take_sasl_ir, NULL},
    {"--insecure", "insecure", false, take_nothing, NULL},
    {"-k", "k", false, take_nothing, NULL},
    {"--libcurl", "libcurl", true, take_nothing, NULL},
    {"-F", "form", true, NULL, "curl builds the MIME message here"},
    {"-H", "header", true, NULL, "curl builds the header here"},
    {"-X", "request", true, NULL, "a verb of the user's choice"},
    {"--request", "request", true, NULL, "a verb of the user's choice"},
    {"-I", "head", false, NULL, "a command without a message"},
    {"-x", "proxy", true, NULL, "through a proxy"},
    {"-n", "netrc", false, NULL, "netrc"},
    {"--sasl-authzid", "sasl-authzid", true, NULL, "we never act as somebody else (authzid)"},
    {"--oauth2-bearer", "oauth2-bearer", true, NULL, "OAUTHBEARER and XOAUTH2 are not ours"},
    {"--login-options", "login-options", true, NULL, "login methods are chosen by offer"},
};

/* "name = "value"" lines of a file given by -K. */
static const char *
take_config(struct order *o, const struct curl_file *file, struct str name, struct buf *words)
{
    struct buf text;
    struct str rest;
    char attr[300];
    const char *why = NULL;

    buf_init(&text, 65536);
    str_fmt(attr, sizeof(attr), "name=\"%.*s\"", STR_ARG(name));
    if (!curl_file_section(file, "file1", attr, &text) &&
        !curl_file_section(file, "file2", attr, &text) &&
        !curl_file_section(file, "file", attr, &text)) {
        buf_done(&text);
        return "its config file is not in the case";
    }
    rest = buf_view(&text);
    while (rest.n && !why) {
        struct str value, key = str_trim(str_cut(str_cut(rest, '\n', &rest), '=', &value));
        size_t at = words->n, i;

        value = str_trim(value);
        if (value.n > 1 && value.p[0] == '"')
            value = str_sub(value, 1, value.n - 2);
        for (i = 0; i < value.n; i++) {
            char c = value.p[i];

            if (c == '\\' && i + 1 < value.n) {
                c = value.p[++i];
                c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c;
            }
            buf_char(words, c);
        }
        for (i = 0; key.n && i < ARRAY_LEN(options); i++)
            if (str_eq(key, str_c(options[i].word)))
                break;
        if (key.n && (i == ARRAY_LEN(options) || !options[i].take))
            why = "an option of curl in a config file that we have no feature for";
        else if (key.n)
            why = options[i].take(o, str_of(words->p + at, words->n - at));
    }
    buf_done(&text);
    return why;
}

static const char *
take_option(struct order *o, const struct curl_file *file, struct str word, struct str *rest,
            struct buf *words)
{
    struct str value = STR_NONE;

    if (str_eq(word, STR("-K")) && curl_word(rest, words, &value))
        return take_config(o, file, value, words);
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (!str_eq(word, str_c(options[i].name)))
            continue;
        if (!options[i].take)
            return options[i].why;
        if (options[i].argument && !curl_word(rest, words, &value))
            return "an option without its value";
        return options[i].take(o, value);
    }
    return "an option of curl that we have no feature for";
}

/* Orders up to the end or to "-:"; NULL or why the case is not for us. */
const char *
curl_command(struct order *o, const struct curl_file *file, struct str *rest, struct buf *words)
{
    const char *why = NULL;
    struct str word;

    memset(o, 0, sizeof(*o));
    while (!why && curl_word(rest, words, &word)) {
        if (str_eq(word, STR("-:")) || str_eq(word, STR("--next")))
            break;
        if (word.n && word.p[0] == '-')
            why = take_option(o, file, word, rest, words);
        else
            why = take_url(o, word);
    }
    if (!why && (!o->has_upload || !o->nrcpt))
        why = "a command without a message (VRFY, HELP, NOOP)";
    return why;
}
