/*
 * tests/support/lib/curl_server.c - a fake SMTP server with the manners of curl's own: replies by
 * the case's orders, else what a friendly server says.
 *
 * Called by cases_curl.c. Bytes in s->in, replies in s->out.
 */
#include "curl_server.h"

#include "core/codec.h"
#include "curl_command.h"

static void
unescape(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\\' && i + 1 < in.n && (in.p[i + 1] == 'r' || in.p[i + 1] == 'n'))
            buf_char(out, in.p[++i] == 'r' ? '\r' : '\n');
        else
            buf_char(out, in.p[i]);
    }
}

/* 'CAPA SIZE "SIZE 32"': words, quoted ones with blanks. */
static void
take_caps(struct curl_server *s, struct str rest)
{
    struct buf words;
    struct str word;

    buf_init(&words, 4096);
    while (curl_word(&rest, &words, &word)) {
        struct str size = word;

        buf_str(&s->caps, word);
        buf_char(&s->caps, '\n');
        s->utf8 = s->utf8 || str_ieq(word, STR("SMTPUTF8"));
        if (str_ieq(str_word(&size), STR("SIZE")))
            str_u64(str_trim(size), &s->max_size);
    }
    buf_done(&words);
}

const char *
curl_server_orders(struct curl_server *s, struct str text)
{
    while (text.n) {
        struct str line = str_cut(text, '\n', &text), rest = line, verb = str_word(&rest);

        rest = str_from(rest, rest.n && rest.p[0] == ' ' ? 1 : 0);
        if (!verb.n || verb.p[0] == '#')
            continue;
        if (str_eq(verb, STR("CAPA"))) {
            take_caps(s, rest);
        } else if (str_eq(verb, STR("AUTH"))) {
            s->mechs = rest;
        } else if (str_eq(verb, STR("REPLY")) && s->nreplies < MAX_REPLIES) {
            bool quoted = rest.n && rest.p[0] == '"';

            if (quoted)
                rest = str_from(rest, 1);
            s->keys[s->nreplies] = str_cut(rest, quoted ? '"' : ' ', &rest);
            s->texts[s->nreplies++] = quoted ? str_from(rest, 1) : rest;
        } else {
            return "its server does what the fake one cannot";
        }
    }
    return NULL;
}

static void
say(struct curl_server *s, const char *text)
{
    buf_c(&s->out, text);
    buf_c(&s->out, "\r\n");
}

/* A PLAIN message whose authzid is the authcid means what it means with none (RFC 4616 2): its form
 * without. Other text stays as it is. */
void
curl_plain_form(struct str line, struct buf *out)
{
    char raw[1024];
    ssize_t n = codec_unbase64(line, raw, sizeof(raw));
    struct str first, second, rest;

    first = str_cut(str_of(raw, n > 0 ? (size_t)n : 0), 0, &rest);
    second = str_cut(rest, 0, &rest);
    if (n > 0 && first.n && rest.n && str_eq(first, second))
        codec_base64(out, str_of(raw + first.n, (size_t)n - first.n));
    else
        buf_str(out, line);
}

static bool
key_fits(struct str key, struct str line)
{
    struct buf form;
    bool same;

    buf_init(&form, 4096);
    curl_plain_form(key, &form);
    same = str_eq(key, line) || str_eq(buf_view(&form), line);
    buf_done(&form);
    return same;
}

static bool
say_custom(struct curl_server *s, struct str key)
{
    for (unsigned i = 0; i < s->nreplies; i++) {
        if (!key_fits(s->keys[i], key))
            continue;
        unescape(s->texts[i], &s->out);
        buf_c(&s->out, "\r\n");
        return true;
    }
    return false;
}

static void
say_ehlo(struct curl_server *s)
{
    struct str caps = buf_view(&s->caps);

    if (!caps.n && !s->mechs.n) {
        say(s, "250 127.0.0.1");
        return;
    }
    say(s, "250-127.0.0.1");
    while (caps.n) {
        struct str cap = str_cut(caps, '\n', &caps);

        buf_fmt(&s->out, "250%c%.*s\r\n", caps.n || s->mechs.n ? '-' : ' ', STR_ARG(cap));
    }
    if (s->mechs.n)
        buf_fmt(&s->out, "250 AUTH %.*s\r\n", STR_ARG(s->mechs));
}

/* curl's test server takes a plain address, or any with '@' once it offers SMTPUTF8. */
static bool
address_fine(const struct curl_server *s, struct str arg, bool may_be_empty)
{
    ssize_t end = str_chr(arg, '>'), at;
    struct str a;

    if (!arg.n || arg.p[0] != '<' || end < 0)
        return false;
    a = str_sub(arg, 1, (size_t)end - 1);
    if (!a.n)
        return may_be_empty;
    at = str_chr(a, '@');
    if (at < 1 || (!s->utf8 && !str_is_ascii(a)))
        return false;
    return str_chr(str_from(a, (size_t)at), '.') > 1;
}

static void
say_mail(struct curl_server *s, struct str line)
{
    ssize_t at = str_find(line, STR(" SIZE="));
    uint64_t size = 0;
    struct str rest;

    if (at >= 0)
        str_u64(str_cut(str_from(line, (size_t)at + 6), ' ', &rest), &size);
    if (!address_fine(s, str_from(line, 10), true))
        say(s, "501 Invalid address");
    else if (s->max_size && size > s->max_size)
        say(s, "552 Message size too large");
    else
        say(s, "250 Sender OK");
}

static void
server_line(struct curl_server *s, struct str line)
{
    struct str rest = line, verb = str_word(&rest);

    buf_str(&s->lines, line);
    buf_char(&s->lines, '\n');
    if (say_custom(s, line) || say_custom(s, verb))
        return;
    if (str_eq(verb, STR("EHLO"))) {
        say_ehlo(s);
    } else if (str_eq(verb, STR("HELO")) || str_eq(verb, STR("RSET"))) {
        say(s, "250 127.0.0.1");
    } else if (str_starts(line, STR("MAIL FROM:"))) {
        say_mail(s, line);
    } else if (str_starts(line, STR("RCPT TO:"))) {
        say(s,
            address_fine(s, str_from(line, 8), false) ? "250 Recipient OK" : "501 Invalid address");
    } else if (str_eq(line, STR("DATA"))) {
        say(s, "354 Show me the mail");
        s->data = true;
        buf_clear(&s->body);
    } else if (str_eq(line, STR("STARTTLS"))) {
        say(s, "220 Go ahead");
    } else if (str_eq(line, STR("QUIT"))) {
        say(s, "221 bye");
    } else {
        say(s, "500 Unrecognized command");
    }
}

/* All that came in; true if something could be done with it. */
bool
curl_server_run(struct curl_server *s)
{
    struct str in = buf_view(&s->in);
    ssize_t at;

    if (s->data) {
        bool lone = str_starts(in, STR(".\r\n"));

        at = lone ? 0 : str_find(in, STR("\r\n.\r\n"));
        if (at < 0)
            return false;
        at += lone ? 3 : 5;
        buf_add(&s->body, in.p, (size_t)at);
        buf_drop(&s->in, (size_t)at);
        s->data = false;
        if (!say_custom(s, STR("data")))
            say(s, "250 OK, data received");
        return true;
    }
    at = str_find(in, STR("\r\n"));
    if (at < 0)
        return false;
    server_line(s, str_sub(in, 0, (size_t)at));
    buf_drop(&s->in, (size_t)at + 2);
    return true;
}

void
curl_server_init(struct curl_server *s)
{
    buf_init(&s->caps, 4096);
    buf_init(&s->in, 4 << 20);
    buf_init(&s->out, 1 << 20);
    buf_init(&s->lines, 1 << 20);
    buf_init(&s->body, 4 << 20);
}

void
curl_server_done(struct curl_server *s)
{
    buf_done(&s->caps);
    buf_done(&s->in);
    buf_done(&s->out);
    buf_done(&s->lines);
    buf_done(&s->body);
}

void
curl_server_greet(struct curl_server *s)
{
    s->data = false;
    buf_clear(&s->in);
    buf_clear(&s->out);
    if (!say_custom(s, STR("welcome")))
        say(s, "220 127.0.0.1 ESMTP test server ready");
}
