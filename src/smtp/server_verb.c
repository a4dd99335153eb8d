/*
 * smtp/server_verb.c - the verb table: may it happen now, and do it; and the light verbs.
 *
 * Called with each whole command line. A new verb is a row here.
 */
#include "smtp/server_inner.h"

enum verb_flag {
    VERB_SMTP = 1,     /* not in LMTP */
    VERB_LMTP = 2,     /* only in LMTP */
    VERB_PLAIN = 4,    /* also before TLS where TLS is required (RFC 3207 4) */
    VERB_GREETED = 8,  /* needs EHLO, HELO or LHLO first */
    VERB_ESMTP = 16,   /* needs EHLO or LHLO */
    VERB_ENDS = 32,    /* ends a group of pipelined commands (RFC 2920 3.1) */
    VERB_IDLE = 64,    /* counts against max_commands */
    VERB_OCTETS = 128, /* octets follow, refused or not */
};

struct verb {
    const char *name;
    unsigned flags;
    const struct smtp_refusal *(*may)(struct smtp_server *s, struct str arg); /* NULL: it may */
    void (*run)(struct smtp_server *s, struct str arg);
};

static const struct smtp_refusal need_arg = {501, "5.5.4", "This command needs an argument"};
static const struct smtp_refusal no_arg = {501, "5.5.4", "This command takes no argument"};
static const struct smtp_refusal bad_name = {501, "5.5.4", "Bad or missing host name"};
static const struct smtp_refusal not_utf8 = {553, "5.6.7", "This needs SMTPUTF8 and UTF-8"};
static const struct smtp_refusal empty = {500, "5.5.2", "Empty command line"};
static const struct smtp_refusal bare = {500, "5.5.2",
                                         "Bare CR, bare LF or NUL in a command; lines end in CRLF"};
static const struct smtp_refusal too_long = {500, "5.5.2", "Command line too long"};
static const struct smtp_refusal unknown = {500, "5.5.1", "Command not recognised"};
static const struct smtp_refusal unwanted = {502, "5.5.1", "Command not implemented"};
static const struct smtp_refusal lhlo_here = {500, "5.5.1", "This is LMTP: say LHLO"};
static const struct smtp_refusal too_many_errs = {421, "4.7.0", "Too many errors"};
static const struct smtp_refusal too_many_idle = {421, "4.7.0",
                                                  "Too many commands without a message"};
static const struct smtp_refusal no_smtp = {421, "4.7.0", "This is SMTP, and that was not"};
static const struct smtp_refusal no_proxy = {421, "4.7.0", "No PROXY header is taken from you"};
static const struct smtp_refusal need_tls = {530, "5.7.0", "Must issue a STARTTLS command first"};
static const struct smtp_refusal need_hello = {503, "5.5.1", "Say EHLO first"};
static const struct smtp_refusal shut = {503, "5.5.1", "No service for you here; say QUIT"};

static const struct smtp_refusal *
may_hello(struct smtp_server *s, struct str arg)
{
    (void)s;
    return smtp_helo_ok(arg) ? NULL : &bad_name;
}

static const struct smtp_refusal *
may_bare(struct smtp_server *s, struct str arg)
{
    (void)s;
    return arg.n ? &no_arg : NULL;
}

static const struct smtp_refusal *
may_not(struct smtp_server *s, struct str arg)
{
    (void)s;
    (void)arg;
    return &unwanted;
}

static void
hello(struct smtp_server *s, struct str name, bool esmtp)
{
    smtp_txn_end(s);
    s->greeted = true;
    s->esmtp = esmtp;
    smtp_owe(s, OWES_HELO);
    s->ops->helo(s->ctx, name, esmtp);
}

static void
do_ehlo(struct smtp_server *s, struct str arg)
{
    hello(s, arg, true);
}

static void
do_helo(struct smtp_server *s, struct str arg)
{
    hello(s, arg, false);
}

static void
do_noop(struct smtp_server *s, struct str arg)
{
    (void)arg;
    smtp_say_text(s, 250, "2.0.0", STR("OK"));
}

static void
do_rset(struct smtp_server *s, struct str arg)
{
    smtp_txn_end(s);
    do_noop(s, arg);
}

static void
do_quit(struct smtp_server *s, struct str arg)
{
    char text[ADDRESS_DOMAIN_MAX + 32];

    (void)arg;
    smtp_say_text(s, 221, "2.0.0",
                  str_of(text, str_fmt(text, sizeof(text), "%.*s closing the connection",
                                       STR_ARG(s->conf->hostname))));
    smtp_hang_up(s);
}

static const struct smtp_refusal *
may_vrfy(struct smtp_server *s, struct str arg)
{
    struct smtp_ext_state ext = smtp_ext_state(s);
    bool utf8 = s->esmtp && smtp_ext_offered(&ext, SMTP_EXT_SMTPUTF8) &&
                str_iends(arg, STR(" SMTPUTF8")) && str_is_utf8(arg);

    if (!arg.n)
        return &need_arg;
    return str_is_ascii(arg) || utf8 ? NULL : &not_utf8;
}

static void
do_vrfy(struct smtp_server *s, struct str arg)
{
    if (str_iends(arg, STR(" SMTPUTF8")))
        arg = str_trim(str_sub(arg, 0, arg.n - 9));
    if (!s->ops->vrfy) {
        smtp_say_text(s, 252, "2.0.0", STR("Cannot verify here; send the mail and see"));
        return;
    }
    smtp_owe(s, OWES_VRFY);
    s->ops->vrfy(s->ctx, arg);
}

static void do_help(struct smtp_server *s, struct str arg);

/* clang-format off */
static const struct verb verbs[] = {
    {"EHLO", VERB_SMTP | VERB_PLAIN | VERB_ENDS | VERB_IDLE, may_hello, do_ehlo},
    {"HELO", VERB_SMTP | VERB_PLAIN | VERB_ENDS | VERB_IDLE, may_hello, do_helo},
    {"LHLO", VERB_LMTP | VERB_PLAIN | VERB_ENDS | VERB_IDLE, may_hello, do_ehlo},
    {"MAIL", VERB_GREETED, smtp_may_mail, smtp_do_mail},
    {"RCPT", VERB_GREETED, smtp_may_rcpt, smtp_do_rcpt},
    {"DATA", VERB_GREETED | VERB_ENDS, smtp_may_data, smtp_do_data},
    {"BDAT", VERB_GREETED | VERB_ESMTP | VERB_OCTETS, smtp_may_bdat, smtp_do_bdat},
    {"RSET", VERB_IDLE, may_bare, do_rset},
    {"NOOP", VERB_PLAIN | VERB_ENDS | VERB_IDLE, NULL, do_noop},
    {"QUIT", VERB_PLAIN | VERB_ENDS, may_bare, do_quit},
    {"STARTTLS", VERB_PLAIN | VERB_GREETED | VERB_ESMTP | VERB_ENDS,
     smtp_may_starttls, smtp_do_starttls},
    {"AUTH", VERB_GREETED | VERB_ESMTP | VERB_ENDS | VERB_IDLE, smtp_may_auth, smtp_do_auth},
    {"XCLIENT", VERB_ENDS | VERB_IDLE, smtp_may_xclient, smtp_do_xclient},
    {"VRFY", VERB_ENDS | VERB_IDLE, may_vrfy, do_vrfy},
    {"HELP", VERB_IDLE, NULL, do_help},
    {"EXPN", VERB_ENDS | VERB_IDLE, may_not, NULL},
    {"TURN", VERB_ENDS | VERB_IDLE, may_not, NULL},
    {"ETRN", VERB_ENDS | VERB_IDLE, may_not, NULL},
    {"ATRN", VERB_ENDS | VERB_IDLE, may_not, NULL},
    {"SEND", VERB_IDLE, may_not, NULL},
    {"SOML", VERB_IDLE, may_not, NULL},
    {"SAML", VERB_IDLE, may_not, NULL},
};
/* clang-format on */

/* What browsers, proxies and tunnels say: the caller is none of ours. PROXY: a balancer that was
 * not expected here, whose address is not its client's. */
static const char *const strangers[] = {"GET",   "POST",    "PUT",   "HEAD",    "DELETE", "PRI",
                                        "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROXY"};

static bool
here(const struct smtp_server *s, const struct verb *v)
{
    return !(v->flags & (s->conf->lmtp ? VERB_SMTP : VERB_LMTP));
}

static void
do_help(struct smtp_server *s, struct str arg)
{
    char text[512];
    size_t n = 0;

    (void)arg;
    n += str_fmt(text, sizeof(text), "Gapura, an SMTP gateway. Commands:\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (verbs[i].run && here(s, &verbs[i]) && (verbs[i].run != smtp_do_xclient || s->xclient))
            n += str_fmt(text + n, sizeof(text) - n, "%s ", verbs[i].name);
    smtp_say_text(s, 214, "2.0.0", str_of(text, n - 1));
}

static const struct verb *
find_verb(const struct smtp_server *s, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_ieq(name, str_c(verbs[i].name)))
            return here(s, &verbs[i]) ? &verbs[i] : NULL;
    return NULL;
}

static bool
is_stranger(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        if (str_ieq(name, str_c(strangers[i])))
            return true;
    return false;
}

/* Why the verb may not happen now, as far as the session's state says. */
static const struct smtp_refusal *
refusal_of(struct smtp_server *s, const struct verb *v, struct str arg)
{
    if (s->refused && v->run != do_quit)
        return &shut;
    if (s->conf->require_tls && !s->tls && !(v->flags & VERB_PLAIN))
        return &need_tls;
    if ((v->flags & VERB_GREETED) && !s->greeted)
        return &need_hello;
    if ((v->flags & VERB_ESMTP) && !s->esmtp)
        return &need_hello;
    return v->may ? v->may(s, arg) : NULL;
}

#define EXCUSED_MAX 1000u /* where recipients have no limit */

/* RCPT and DATA that were pipelined behind a MAIL which we refused are no errors of the client. */
static void
refuse(struct smtp_server *s, const struct verb *v, const struct smtp_refusal *r, struct str arg)
{
    unsigned before = s->errors;

    if (v->run == smtp_do_mail && !s->txn && !s->refused)
        smtp_tell_refused(s, "MAIL", r, smtp_said_path(arg));
    else if (v->run == smtp_do_rcpt && s->txn && !s->txn->full)
        smtp_tell_refused(s, "RCPT", r, smtp_said_path(arg));
    if (s->txn && v->run == smtp_do_rcpt)
        s->txn->full = true;
    smtp_say(s, r);
    if (s->txn || !s->excused || (v->run != smtp_do_rcpt && v->run != smtp_do_data))
        return;
    s->excused--;
    s->errors = before;
}

static void
run_verb(struct smtp_server *s, const struct verb *v, struct str arg)
{
    const struct smtp_refusal *r = refusal_of(s, v, arg);

    if (v->flags & VERB_ENDS)
        s->group_ended = true;
    if ((v->flags & VERB_IDLE) && s->conf->max_commands && ++s->idle > s->conf->max_commands) {
        smtp_close_told(s, &too_many_idle);
        return;
    }
    if (v->run == smtp_do_mail && !s->txn) {
        if (s->conf->max_commands && s->idle >= s->conf->max_commands) {
            smtp_close_told(s, &too_many_idle);
            return;
        }
        s->excused = (s->conf->max_rcpts ? s->conf->max_rcpts : EXCUSED_MAX) + 1;
    }
    if (!r)
        v->run(s, arg);
    else if (v->flags & VERB_OCTETS)
        smtp_bdat_refused(s, arg, r);
    else
        refuse(s, v, r, arg);
}

bool
smtp_greets_like_smtp(char first)
{
    return ((first | 32) >= 'a' && (first | 32) <= 'z') || first == '\r' || first == '\n';
}

/* AUTH's initial response holds a password: it is never shown. */
static void
trace_command(struct smtp_server *s, const struct verb *v, struct str line)
{
    if (v && v->run == smtp_do_auth) {
        struct str rest = line;

        str_word(&rest);
        str_word(&rest);
        line.n -= rest.n;
    }
    smtp_trace(s, '<', line);
}

static bool
too_many_errors(struct smtp_server *s)
{
    if (!s->conf->max_errors || s->errors < s->conf->max_errors)
        return false;
    smtp_close_told(s, &too_many_errs);
    return true;
}

void
smtp_command_too_long(struct smtp_server *s)
{
    if (!too_many_errors(s))
        smtp_say(s, &too_long);
}

void
smtp_command(struct smtp_server *s, struct str raw)
{
    const struct verb *v;
    struct str line = {0}, name, arg;
    enum smtp_line_fault fault;

    if (!smtp_greets_like_smtp(raw.p[0])) {
        smtp_trace(s, '<', STR("(no letter)"));
        smtp_close_told(s, &no_smtp);
        return;
    }
    if (too_many_errors(s))
        return;
    fault = smtp_line_text(raw, s->trusted || s->conf->lax_lines, &line);
    if (fault != SMTP_LINE_FINE) {
        smtp_trace(s, '<', STR("(broken line)"));
        smtp_say(s, fault == SMTP_LINE_EMPTY ? &empty : &bare);
        return;
    }
    name = smtp_line_verb(line, &arg);
    v = find_verb(s, name);
    trace_command(s, v, line);
    if (v)
        run_verb(s, v, arg);
    else if (is_stranger(name))
        smtp_close_told(s, str_ieq(name, STR("PROXY")) ? &no_proxy : &no_smtp);
    else if (s->conf->lmtp && (str_ieq(name, STR("EHLO")) || str_ieq(name, STR("HELO"))))
        smtp_say(s, &lhlo_here);
    else
        smtp_say(s, &unknown);
}
