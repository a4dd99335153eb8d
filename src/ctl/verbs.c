/*
 * ctl/verbs.c - the one table of verbs.
 *
 * Read by the command line, by its help, and by the test that compares it with the manual page.
 */
#include "ctl/verbs.h"

const char *const ctl_role_names[] = {"supervisor", "keeper", "courier", "gate"};

#define FILTERS                                                                                    \
    {"domain", CTL_TEXT, "DOMAIN", "recipients at this domain"},                                   \
        {"tenant", CTL_TEXT, "NAME", "mail of this tenant"},                                       \
        {"sender", CTL_TEXT, "ADDRESS", "this envelope sender (or @DOMAIN)"},                      \
        {"recipient", CTL_TEXT, "ADDRESS", "this recipient"},                                      \
        {"source", CTL_TEXT, "NAME", "mail bound to this source address"},                         \
        {"site", CTL_TEXT, "NAME", "mail for this destination site"},                              \
    {                                                                                              \
        "provider", CTL_TEXT, "NAME", "another word for --site"                                    \
    }
#define STATE                                                                                      \
    {                                                                                              \
        "state", CTL_TEXT, "STATE", "ready, waiting, aside, active, suspended or held"             \
    }
#define REASON                                                                                     \
    {                                                                                              \
        "reason", CTL_TEXT, "TEXT", "why: kept with the change and shown by explain"               \
    }
#define ALL                                                                                        \
    {                                                                                              \
        "all", CTL_FLAG, NULL, "everything that waits"                                             \
    }

static const struct ctl_option list_options[] = {
    FILTERS, STATE, {"limit", CTL_COUNT, "N", "at most so many lines (default 1000)"}};
static const struct ctl_option summary_options[] = {FILTERS, STATE};
static const struct ctl_option change_options[] = {FILTERS, STATE, ALL};
static const struct ctl_option reason_options[] = {FILTERS, STATE, ALL, REASON};
static const struct ctl_option suspend_options[] = {
    FILTERS,
    {"all", CTL_FLAG, NULL, "all mail"},
    {"for", CTL_DURATION, "TIME", "ends by itself: 30m, 2h, 1d"},
    REASON};
static const struct ctl_option resume_options[] = {FILTERS,
                                                   {"all", CTL_FLAG, NULL, "all suspensions"}};
static const struct ctl_option add_options[] = {
    {"tenant", CTL_TEXT, "NAME", "tenant that the login sends for"},
    {"senders", CTL_TEXT, "LIST",
     "what it may write as, beside its own name: addresses, domains, .domains or *, with commas"}};
static const struct ctl_option suspensions_options[] = {FILTERS};
static const struct ctl_option users_options[] = {
    {"tenant", CTL_TEXT, "NAME", "logins of this tenant"},
    {"domain", CTL_TEXT, "DOMAIN", "logins that are addresses at this domain"}};
static const struct ctl_option remove_options[] = {REASON};
#define SELECTOR                                                                                   \
    {                                                                                              \
        "selector", CTL_TEXT, "SELECTOR", "this key of the domain"                                 \
    }
static const struct ctl_option key_add_options[] = {
    {"selector", CTL_TEXT, "SELECTOR", "name of the new key (default: made of the date)"},
    {"type", CTL_TEXT, "TYPE", "rsa (default), ed25519 or both"},
    {"bits", CTL_COUNT, "N", "size of an RSA key, 1024 to 4096"},
    {"tenant", CTL_TEXT, "NAME", "tenant whose mail is signed with it"}};
static const struct ctl_option key_rotate_options[] = {
    {"bits", CTL_COUNT, "N", "size of an RSA key, 1024 to 4096"}};
static const struct ctl_option key_import_options[] = {
    {"tenant", CTL_TEXT, "NAME", "tenant whose mail is signed with it"}};
static const struct ctl_option keys_options[] = {
    {"tenant", CTL_TEXT, "NAME", "keys of this tenant"}};
static const struct ctl_option key_options[] = {SELECTOR};
#define JSON                                                                                       \
    {                                                                                              \
        "json", CTL_FLAG, NULL, "JSON lines, for programs"                                         \
    }
static const struct ctl_option check_options[] = {JSON};
static const struct ctl_option policy_show_options[] = {JSON};
static const struct ctl_option policy_test_options[] = {
    {"profile", CTL_TEXT, "NAME", "the profile (default: that of the main block)"}, JSON};
static const struct ctl_option policy_senders_options[] = {
    {"domain", CTL_TEXT, "DOMAIN", "only those that write as this domain of ours"}, JSON};
static const struct ctl_option lab_options[] = {
    {"quiet", CTL_FLAG, NULL, "no sample mail at the start"},
    {"all", CTL_FLAG, NULL, "each line of sample mail, not only sums"},
    {"net", CTL_TEXT, "A.B.C", "other loopback addresses than 127.0.0.x (for a new DIR)"}};
static const struct ctl_option wind_options[] = {
    {"scenario", CTL_TEXT, "FILE", "what is to be sent, and how the providers are inside"},
    {"seeds", CTL_COUNT, "N", "runs of each law (default 30, at most 1000)"},
    {"json", CTL_FLAG, NULL, "a JSON line for each law"}};
static const struct ctl_option import_options[] = {
    {"o", CTL_TEXT, "FILE", "where to write (default: standard output, without tables)"}};
#define SINCE                                                                                      \
    {                                                                                              \
        "since", CTL_DURATION, "TIME", "of the last so long: 7d, 24h"                              \
    }
#define KIND                                                                                       \
    {                                                                                              \
        "kind", CTL_TEXT, "KIND", "dmarc or tls"                                                   \
    }
#define PROVED                                                                                     \
    {                                                                                              \
        "proved", CTL_FLAG, NULL, "only reports whose sender was proved by SPF or DKIM"            \
    }
#define LIMIT                                                                                      \
    {                                                                                              \
        "limit", CTL_COUNT, "N", "at most so many lines (default 1000, most 2000)"                 \
    }
static const struct ctl_option reports_options[] = {
    {"domain", CTL_TEXT, "DOMAIN", "reports about this domain"}, KIND, SINCE, PROVED, LIMIT};
static const struct ctl_option report_show_options[] = {LIMIT};
static const struct ctl_option report_sources_options[] = {KIND, SINCE, PROVED, LIMIT};
static const struct ctl_option report_read_options[] = {JSON};
static const struct ctl_option trace_options[] = {
    {"ip", CTL_PREFIX, "ADDRESS", "sessions from this address or network"},
    {"id", CTL_TEXT, "SESSION", "this session"}};
static const struct ctl_option top_options[] = {
    FILTERS,
    STATE,
    {"once", CTL_FLAG, NULL, "one frame, then the end"},
    {"interval", CTL_DURATION, "TIME", "between frames (default 2s)"}};

static const struct ctl_column list_columns[] = {{"id", "ID", CTL_COL_TEXT, 0},
                                                 {"age_s", "AGE", CTL_COL_AGE, 0},
                                                 {"size", "SIZE", CTL_COL_SIZE, 0},
                                                 {"sender", "SENDER", CTL_COL_TEXT, 36},
                                                 {"recipient", "RECIPIENT", CTL_COL_TEXT, 36},
                                                 {"state", "STATE", CTL_COL_TEXT, 0},
                                                 {"attempts", "TRIES", CTL_COL_NUMBER, 0},
                                                 {"next", "NEXT", CTL_COL_TIME, 0},
                                                 {"reason", "REASON", CTL_COL_TEXT, 60}};
static const struct ctl_column summary_columns[] = {{"site", "SITE", CTL_COL_TEXT, 40},
                                                    {"domain", "DOMAIN", CTL_COL_TEXT, 40},
                                                    {"tenant", "TENANT", CTL_COL_TEXT, 20},
                                                    {"state", "STATE", CTL_COL_TEXT, 0},
                                                    {"recipients", "RECIPIENTS", CTL_COL_NUMBER, 0},
                                                    {"waiting", "WAITING", CTL_COL_NUMBER, 0},
                                                    {"ready", "READY", CTL_COL_NUMBER, 0},
                                                    {"active", "ACTIVE", CTL_COL_NUMBER, 0},
                                                    {"suspended", "SUSP", CTL_COL_NUMBER, 0},
                                                    {"held", "HELD", CTL_COL_NUMBER, 0},
                                                    {"size", "SIZE", CTL_COL_SIZE, 0},
                                                    {"oldest_s", "OLDEST", CTL_COL_AGE, 0},
                                                    {"next", "NEXT", CTL_COL_TIME, 0},
                                                    {"reason", "REASON", CTL_COL_TEXT, 60}};
static const struct ctl_column suspensions_columns[] = {
    {"id", "ID", CTL_COL_TEXT, 0},          {"domain", "DOMAIN", CTL_COL_TEXT, 40},
    {"site", "SITE", CTL_COL_TEXT, 40},     {"tenant", "TENANT", CTL_COL_TEXT, 20},
    {"sender", "SENDER", CTL_COL_TEXT, 36}, {"recipient", "RECIPIENT", CTL_COL_TEXT, 36},
    {"source", "SOURCE", CTL_COL_TEXT, 20}, {"since", "SINCE", CTL_COL_TIME, 0},
    {"until", "UNTIL", CTL_COL_TIME, 0},    {"held", "HELD", CTL_COL_NUMBER, 0},
    {"reason", "REASON", CTL_COL_TEXT, 60}};
static const struct ctl_column user_columns[] = {{"login", "LOGIN", CTL_COL_TEXT, 60},
                                                 {"tenant", "TENANT", CTL_COL_TEXT, 20},
                                                 {"senders", "SENDERS", CTL_COL_TEXT, 60},
                                                 {"created", "CREATED", CTL_COL_TIME, 0}};
static const struct ctl_column key_columns[] = {
    {"domain", "DOMAIN", CTL_COL_TEXT, 40},    {"selector", "SELECTOR", CTL_COL_TEXT, 0},
    {"type", "TYPE", CTL_COL_TEXT, 0},         {"bits", "BITS", CTL_COL_NUMBER, 0},
    {"tenant", "TENANT", CTL_COL_TEXT, 20},    {"state", "STATE", CTL_COL_TEXT, 0},
    {"since", "SINCE", CTL_COL_TIME, 0},       {"published", "IN DNS", CTL_COL_TEXT, 0},
    {"checked", "LOOKED UP", CTL_COL_TIME, 0}, {"reason", "REASON", CTL_COL_TEXT, 40}};
static const struct ctl_column policy_senders_columns[] = {
    {"mails", "MAILS", CTL_COL_NUMBER, 0},        {"client", "CLIENT", CTL_COL_TEXT, 40},
    {"mail_from", "MAIL FROM", CTL_COL_TEXT, 40}, {"domain", "AS", CTL_COL_TEXT, 40},
    {"dkim", "DKIM", CTL_COL_TEXT, 40},           {"arc", "ARC", CTL_COL_TEXT, 0}};
static const struct ctl_column report_columns[] = {
    {"number", "NUMBER", CTL_COL_NUMBER, 0},  {"kind", "KIND", CTL_COL_TEXT, 0},
    {"domain", "DOMAIN", CTL_COL_TEXT, 36},   {"org", "ORGANIZATION", CTL_COL_TEXT, 28},
    {"since", "FROM", CTL_COL_TIME, 0},       {"until", "TO", CTL_COL_TIME, 0},
    {"messages", "COUNT", CTL_COL_NUMBER, 0}, {"passed", "PASSED", CTL_COL_NUMBER, 0},
    {"failed", "FAILED", CTL_COL_NUMBER, 0},  {"proof", "SENDER PROVED", CTL_COL_TEXT, 0},
    {"received", "RECEIVED", CTL_COL_TIME, 0}};
static const struct ctl_column report_sources_columns[] = {
    {"kind", "KIND", CTL_COL_TEXT, 0},         {"source", "SOURCE", CTL_COL_TEXT, 40},
    {"messages", "COUNT", CTL_COL_NUMBER, 0},  {"passed", "PASSED", CTL_COL_NUMBER, 0},
    {"failed", "FAILED", CTL_COL_NUMBER, 0},   {"dkim", "DKIM", CTL_COL_NUMBER, 0},
    {"spf", "SPF", CTL_COL_NUMBER, 0},         {"none", "NONE", CTL_COL_NUMBER, 0},
    {"quarantine", "QUAR", CTL_COL_NUMBER, 0}, {"reject", "REJECT", CTL_COL_NUMBER, 0},
    {"signer", "SIGNED BY", CTL_COL_TEXT, 30}, {"bounce", "SPF OF", CTL_COL_TEXT, 30},
    {"result", "RESULT", CTL_COL_TEXT, 36},    {"proved", "PROVED", CTL_COL_NUMBER, 0},
    {"last", "LAST", CTL_COL_TIME, 0}};
static const struct ctl_column status_columns[] = {{"role", "ROLE", CTL_COL_TEXT, 0},
                                                   {"pid", "PID", CTL_COL_NUMBER, 0},
                                                   {"ready", "READY", CTL_COL_TEXT, 0},
                                                   {"uptime_s", "UPTIME", CTL_COL_AGE, 0},
                                                   {"restarts", "RESTARTS", CTL_COL_NUMBER, 0},
                                                   {"generation", "SETTINGS", CTL_COL_NUMBER, 0},
                                                   {"may", "MAY", CTL_COL_TEXT, 0}};

#define SENDER                                                                                     \
    {"ip", CTL_TEXT, "ADDRESS", "the client that delivered the message"},                          \
        {"helo", CTL_TEXT, "NAME", "what it said in EHLO"},                                        \
    {                                                                                              \
        "from", CTL_TEXT, "ADDRESS", "the envelope sender; <> is the null sender"                  \
    }
#define LOOKUPS                                                                                    \
    {"dns", CTL_TEXT, "FILE", "answers out of this zone file, nothing is asked"},                  \
        {"resolver", CTL_TEXT, "ADDRESS", "ask this DNS server (ADDRESS:PORT for another port)"},  \
        {"timeout", CTL_DURATION, "TIME", "for all look-ups together (default 20s)"},              \
        {"time", CTL_NUMBER, "SECONDS", "judge as of then, in seconds since 1970"},                \
    {                                                                                              \
        "json", CTL_FLAG, NULL, "JSON, for programs"                                               \
    }
static const struct ctl_option auth_verify_options[] = {
    SENDER,
    {"id", CTL_TEXT, "NAME", "who says so in Authentication-Results (default: this host)"},
    {"trust", CTL_TEXT, "LIST", "domains whose ARC seals are believed, with commas"},
    {"psl", CTL_TEXT, "FILE", "organizations by this Public Suffix List, not by the tree walk"},
    LOOKUPS};
#define PATTERNS                                                                                   \
    {                                                                                              \
        "patterns", CTL_TEXT, "FILE", "patterns of this file, as `delivery.replies` names one"     \
    }
static const struct ctl_option replies_classify_options[] = {
    {"host", CTL_TEXT, "NAME", "the host that answered"},
    {"provider", CTL_TEXT, "NAME", "whose words they are, where the host does not tell"},
    {"phase", CTL_TEXT, "PHASE",
     "what was answered: connect, mail, rcpt (unless said), data, dot; unknown: a report's words"},
    PATTERNS,
    {"json", CTL_FLAG, NULL, "JSON, for programs"}};
static const struct ctl_option replies_list_options[] = {
    PATTERNS, {"json", CTL_FLAG, NULL, "JSON, for programs"}};
static const struct ctl_option replies_unknown_options[] = {
    {"site", CTL_TEXT, "SITE", "replies that this site gave last"},
    {"limit", CTL_COUNT, "N", "at most so many lines (default 1000)"}};
static const struct ctl_column replies_unknown_columns[] = {
    {"count", "COUNT", CTL_COL_NUMBER, 0},    {"of_others", "OTHERS", CTL_COL_NUMBER, 0},
    {"site", "SITE", CTL_COL_TEXT, 40},       {"first", "FIRST", CTL_COL_TIME, 0},
    {"last", "LAST", CTL_COL_TIME, 0},        {"shape", "SHAPE", CTL_COL_TEXT, 80},
    {"example", "EXAMPLE", CTL_COL_TEXT, 120}};
static const struct ctl_option auth_spf_options[] = {SENDER, LOOKUPS};
static const struct ctl_option auth_sign_options[] = {
    {"domain", CTL_TEXT, "DOMAIN", "who signs (d=)"},
    {"selector", CTL_TEXT, "NAME", "where the key is published (s=)"},
    {"key", CTL_TEXT, "FILE", "the private key: PEM, or the base64 of an Ed25519 key"},
    {"ed25519-key", CTL_TEXT, "FILE", "a second key, for a second signature"},
    {"ed25519-selector", CTL_TEXT, "NAME", "its selector (default: the other and -ed25519)"},
    {"identity", CTL_TEXT, "ADDRESS", "on whose behalf (i=)"},
    {"headers", CTL_TEXT, "LIST", "fields to sign, with colons (default: all that readers see)"},
    {"canon", CTL_TEXT, "HEADER/BODY", "simple or relaxed (default relaxed/relaxed)"},
    {"expires", CTL_DURATION, "TIME", "the signature holds so long (x=)"},
    {"time", CTL_NUMBER, "SECONDS", "signed then (t=), in seconds since 1970; 0: t= is left out"},
    {"field", CTL_FLAG, NULL, "print the signature fields alone"},
    {"json", CTL_FLAG, NULL, "JSON with fields and DNS records, for programs"}};

#define OPTIONS(a) .options = a, .noptions = ARRAY_LEN(a)
#define COLUMNS(a) .columns = a, .ncolumns = ARRAY_LEN(a)

const struct ctl_verb ctl_verbs[] = {
    {.group = "To begin",
     .words = "lab",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "dir",
     .shown = "[DIR]",
     OPTIONS(lab_options),
     .help = "Try everything in a world that ends at this machine: fake providers, sample mail.",
     .more =
         "DIR holds settings, queue and mail; it is made if it is not there, and what is in it is "
         "never written over.\nWithout DIR: as root /var/lib/gapura-lab, else gapura-lab in "
         "$XDG_STATE_HOME or ~/.local/state. Ctrl-C ends it.",
     .example = "lab /tmp/lab --quiet"},
    {.words = "check",
     .flags = CTL_LOCAL | CTL_SETTINGS,
     OPTIONS(check_options),
     .help = "Check the settings and say what is wrong, file and line.",
     .example = "check -c /etc/gapura/gapura.conf"},
    {.words = "run",
     .flags = CTL_LOCAL | CTL_SETTINGS,
     .help = "Start the program in the foreground.",
     .example = "run -c /etc/gapura/gapura.conf"},
    {.words = "import postfix",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "dir",
     .shown = "DIR",
     OPTIONS(import_options),
     .help = "Write settings that do what a Postfix in DIR does.",
     .more =
         "DIR holds main.cf, as /etc/postfix does. What was not carried over stands at the end of "
         "what is written, with the reason.",
     .example = "import postfix /etc/postfix -o gapura.conf"},
    {.group = "The running program",
     .words = "status",
     .wire = "status",
     .role = CTL_SUPERVISOR,
     .flags = CTL_LISTS,
     COLUMNS(status_columns),
     .help = "Show the roles: pid, uptime, restarts.",
     .example = "status"},
    {.words = "reload",
     .wire = "reload",
     .role = CTL_SUPERVISOR,
     .help = "Read the settings and the tables again.",
     .more = "Settings with an error are refused as a whole, and the former ones stay in use. "
             "Sessions and mail go on.",
     .example = "reload"},
    {.words = "top",
     .wire = "top.courier",
     .role = CTL_COURIER,
     OPTIONS(top_options),
     .help = "Watch the program at work.",
     .example = "top"},
    {.words = "trace",
     .wire = "trace",
     .role = CTL_GATE,
     .flags = CTL_STREAMS | CTL_SELECTS,
     OPTIONS(trace_options),
     .help = "Show live sessions line by line, until interrupted.",
     .example = "trace --ip 192.0.2.0/24"},
    {.group = "Mail",
     .words = "explain",
     .wire = "explain",
     .role = CTL_COURIER,
     .argument = "id",
     .shown = "ID|ADDRESS",
     .help = "Tell the story of a message (by id or Message-ID), or of all from or to an address.",
     .example = "explain bob@example.org"},
    {.words = "queue list",
     .wire = "queue.list",
     .role = CTL_COURIER,
     .flags = CTL_LISTS,
     OPTIONS(list_options),
     COLUMNS(list_columns),
     .help = "List recipients that wait.",
     .example = "queue list --domain example.org --state waiting"},
    {.words = "queue show",
     .wire = "queue.show",
     .role = CTL_COURIER,
     .argument = "id",
     .shown = "ID",
     .help = "Show one message: envelope, recipients, attempts.",
     .example = "queue show 2v8m4tq0j3c9xw1r5k7n6p8d2e"},
    {.words = "queue summary",
     .wire = "queue.summary",
     .role = CTL_COURIER,
     .flags = CTL_LISTS,
     OPTIONS(summary_options),
     COLUMNS(summary_columns),
     .help = "Count what waits, by destination.",
     .example = "queue summary"},
    {.words = "queue retry",
     .wire = "queue.retry",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS,
     .argument = "id",
     .shown = "[ID]",
     OPTIONS(change_options),
     .help = "Try now what waits for a later attempt.",
     .example = "queue retry --domain example.org"},
    {.words = "queue hold",
     .wire = "queue.hold",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS | CTL_REASON,
     .argument = "id",
     .shown = "[ID]",
     OPTIONS(reason_options),
     .help = "Hold mail back until it is released.",
     .example = "queue hold --sender news@example.com --reason \"wrong price in it\""},
    {.words = "queue release",
     .wire = "queue.release",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS,
     .argument = "id",
     .shown = "[ID]",
     OPTIONS(change_options),
     .help = "Release held mail.",
     .example = "queue release --sender news@example.com"},
    {.words = "queue remove",
     .wire = "queue.remove",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS | CTL_REASON,
     .argument = "id",
     .shown = "[ID]",
     OPTIONS(reason_options),
     .help = "Remove mail for good; no bounce is sent.",
     .example = "queue remove 2v8m4tq0j3c9xw1r5k7n6p8d2e --reason \"sent twice\""},
    {.words = "suspend",
     .wire = "suspend",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS | CTL_REASON,
     OPTIONS(suspend_options),
     .help = "Stop delivery to or from something, for a while.",
     .more = "Mail is still accepted and waits. `gapura suspensions` lists what is stopped, "
             "`gapura resume` ends it.",
     .example = "suspend --domain example.org --for 2h --reason \"their server is being moved\""},
    {.words = "resume",
     .wire = "resume",
     .role = CTL_COURIER,
     .flags = CTL_SELECTS,
     .argument = "id",
     .shown = "[ID]",
     OPTIONS(resume_options),
     .help = "End a suspension.",
     .example = "resume --domain example.org"},
    {.words = "suspensions",
     .wire = "suspensions",
     .role = CTL_COURIER,
     .flags = CTL_LISTS,
     OPTIONS(suspensions_options),
     COLUMNS(suspensions_columns),
     .help = "List what is suspended, why and until when.",
     .example = "suspensions"},
    {.words = "send",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .help = "Send the message on standard input; sendmail(8) lists the options.",
     .example = "send -f alice@example.com -t < message"},
    {.group = "Logins, domains, keys",
     .words = "user add",
     .wire = "user.add",
     .role = CTL_KEEPER,
     .flags = CTL_PASSWORD,
     .argument = "login",
     .shown = "LOGIN",
     OPTIONS(add_options),
     .help = "Add a login; its password is asked for, or read from standard input.",
     .example = "user add alice@example.com --senders example.com"},
    {.words = "user password",
     .wire = "user.password",
     .role = CTL_KEEPER,
     .flags = CTL_PASSWORD,
     .argument = "login",
     .shown = "LOGIN",
     .help = "Set a login's password.",
     .example = "user password alice@example.com"},
    {.words = "user remove",
     .wire = "user.remove",
     .role = CTL_KEEPER,
     .flags = CTL_REASON,
     .argument = "login",
     .shown = "LOGIN",
     OPTIONS(remove_options),
     .help = "Remove a login.",
     .example = "user remove alice@example.com --reason \"left the company\""},
    {.words = "user list",
     .wire = "user.list",
     .role = CTL_KEEPER,
     .flags = CTL_LISTS,
     OPTIONS(users_options),
     COLUMNS(user_columns),
     .help = "List logins and what they may write as.",
     .example = "user list --json"},
    {.words = "domain dns",
     .wire = "domain.dns",
     .role = CTL_KEEPER,
     .argument = "domain",
     .shown = "DOMAIN",
     .help = "Show the records that a domain should publish, and what is published now.",
     .more =
         "SPF for the addresses that we send from, DKIM, DMARC; for a domain that is served here "
         "MX, MTA-STS and TLS-RPT too.",
     .example = "domain dns example.com"},
    {.words = "domain dkim add",
     .wire = "domain.dkim.add",
     .role = CTL_KEEPER,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(key_add_options),
     .help = "Make a signing key for a domain and show the record to publish.",
     .more = "The private key is made in the keyring and leaves it only sealed. It signs once its "
             "record is seen in DNS.",
     .example = "domain dkim add example.com --type both"},
    {.words = "domain dkim import",
     .wire = "domain.dkim.import",
     .role = CTL_KEEPER,
     .flags = CTL_READS,
     .argument = "domain selector file",
     .shown = "DOMAIN SELECTOR FILE",
     OPTIONS(key_import_options),
     .help = "Take over a signing key that exists already (PEM, RSA or Ed25519).",
     .example = "domain dkim import example.com mail /etc/opendkim/mail.private"},
    {.words = "domain dkim list",
     .wire = "domain.dkim.list",
     .role = CTL_KEEPER,
     .flags = CTL_LISTS,
     .argument = "domain",
     .shown = "[DOMAIN]",
     OPTIONS(keys_options),
     COLUMNS(key_columns),
     .help = "List signing keys: state, and whether their records are in DNS.",
     .example = "domain dkim list"},
    {.words = "domain dkim show",
     .wire = "domain.dkim.show",
     .role = CTL_KEEPER,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(key_options),
     .help = "Show the records to publish for a domain's keys, as lines of a zone file.",
     .example = "domain dkim show example.com"},
    {.words = "domain dkim rotate",
     .wire = "domain.dkim.rotate",
     .role = CTL_KEEPER,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(key_rotate_options),
     .help = "Make the successor of each key that signs for a domain.",
     .more = "The former key signs until the new record is seen in DNS, and its own record stays "
             "for dkim.grace; a Notice says when it can go.",
     .example = "domain dkim rotate example.com"},
    {.words = "domain dkim activate",
     .wire = "domain.dkim.activate",
     .role = CTL_KEEPER,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(key_options),
     .help = "Sign with the new key now, without waiting for DNS.",
     .example = "domain dkim activate example.com"},
    {.words = "domain dkim retire",
     .wire = "domain.dkim.retire",
     .role = CTL_KEEPER,
     .flags = CTL_REASON,
     .argument = "domain selector",
     .shown = "DOMAIN SELECTOR",
     OPTIONS(remove_options),
     .help = "Sign with this key no more; it is erased after dkim.grace.",
     .example = "domain dkim retire example.com old2024 --reason \"1024 bits\""},
    {.words = "domain dkim remove",
     .wire = "domain.dkim.remove",
     .role = CTL_KEEPER,
     .flags = CTL_REASON,
     .argument = "domain selector",
     .shown = "DOMAIN SELECTOR",
     OPTIONS(remove_options),
     .help = "Forget a key and erase its private half at once.",
     .example = "domain dkim remove example.com old2024 --reason \"leaked\""},
    {.group = "Reports of others",
     .words = "report list",
     .wire = "report.list",
     .role = CTL_KEEPER,
     .flags = CTL_LISTS,
     OPTIONS(reports_options),
     COLUMNS(report_columns),
     .help = "List the DMARC and TLS reports that others sent about our domains.",
     .more = "SENDER PROVED says what proved the mail that brought it: dmarc, dkim, spf or none. "
             "The settings' block `reports` names the addresses at which reports arrive.",
     .example = "report list --domain example.com --since 7d"},
    {.words = "report show",
     .wire = "report.show",
     .role = CTL_KEEPER,
     .argument = "number",
     .shown = "NUMBER",
     OPTIONS(report_show_options),
     .help = "Show a received report, record by record.",
     .example = "report show 17"},
    {.words = "report sources",
     .wire = "report.sources",
     .role = CTL_KEEPER,
     .flags = CTL_LISTS,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(report_sources_options),
     COLUMNS(report_sources_columns),
     .help = "Show who sends as a domain by what reports say, and how its TLS fares.",
     .more = "For each address: messages, those that passed DMARC, aligned DKIM and SPF, what "
             "receivers did with them, and how many reports of proved senders tell.",
     .example = "report sources example.com --since 30d"},
    {.words = "report read",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "file",
     .shown = "FILE...",
     OPTIONS(report_read_options),
     .help = "Say what a report in a file says: a mail, .xml, .json, .gz or .zip (- is standard "
             "input).",
     .more = "Nothing is kept. Exit status: 0 read, 1 cannot be read, 2 wrong usage.",
     .example = "report read google.com!example.com!1763856000!1763942399.zip"},
    {.group = "How mail is judged",
     .words = "policy show",
     .flags = CTL_LOCAL | CTL_SETTINGS,
     .argument = "profile",
     .shown = "[PROFILE]",
     OPTIONS(policy_show_options),
     .help = "Show profiles: thresholds, groups and weights, and the line that each comes from.",
     .example = "policy show strict"},
    {.words = "policy test",
     .flags = CTL_LOCAL | CTL_SETTINGS,
     .argument = "file",
     .shown = "FILE",
     OPTIONS(policy_test_options),
     .help = "Judge the messages of a file of events again and tell what a profile would change.",
     .more = "- is standard input.",
     .example = "policy test /var/log/gapura/events.jsonl --profile strict"},
    {.words = "policy senders",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "file",
     .shown = "FILE",
     OPTIONS(policy_senders_options),
     COLUMNS(policy_senders_columns),
     .help = "List who writes as a domain of ours without proof, from a file of events.",
     .more = "What the check own_domain_spoof found, by client, MAIL FROM, domain, DKIM signer and "
             "ARC result; the most mails first. - is standard input.",
     .example = "policy senders /var/log/gapura/events.jsonl --domain example.com"},
    {.words = "auth verify",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "file",
     .shown = "FILE",
     OPTIONS(auth_verify_options),
     .help = "Check SPF, DKIM, ARC and DMARC of a message in a file (- is standard input).",
     .more = "Exit status: 0 authenticated, 1 not, 2 wrong usage or nothing to read, 3 DNS did not "
             "answer.",
     .example =
         "auth verify message.eml --ip 192.0.2.1 --helo mx.example.org --from a@example.org"},
    {.words = "auth sign",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "file",
     .shown = "FILE",
     OPTIONS(auth_sign_options),
     .help = "Sign a message in a file by DKIM (- is standard input) and print it.",
     .more = "Exit status: 0 signed, 1 refused, 2 wrong usage or nothing to read.",
     .example = "auth sign message.eml --domain example.com --selector s1 --key s1.pem"},
    {.words = "auth spf",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "domain",
     .shown = "DOMAIN",
     OPTIONS(auth_spf_options),
     .help = "Evaluate a domain's SPF for an address and show each term.",
     .more =
         "Exit status: 0 pass, 1 another result, 2 wrong usage or nothing to read, 3 DNS did not "
         "answer.",
     .example = "auth spf example.org --ip 192.0.2.1"},
    {.words = "replies classify",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "text",
     .shown = "[TEXT...]",
     OPTIONS(replies_classify_options),
     .help = "Say what an SMTP reply means: class, whose trouble, what follows, which pattern.",
     .more = "Without TEXT, or with -, each line of standard input is a reply.",
     .example = "replies classify 550 5.1.1 user unknown"},
    {.words = "replies list",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "word",
     .shown = "[WORD]",
     OPTIONS(replies_list_options),
     .help = "List the patterns of replies, or those with a word or of a class.",
     .example = "replies list SpamBlock"},
    {.words = "replies unknown",
     .wire = "replies.unknown",
     .role = CTL_COURIER,
     .flags = CTL_LISTS,
     OPTIONS(replies_unknown_options),
     COLUMNS(replies_unknown_columns),
     .help = "List the replies that no pattern knows, by shape, the most frequent first.",
     .more = "Counted since the courier's start. COUNT may hold OTHERS of shapes that gave way to "
             "it. Put words of a shape into a file that `delivery.replies` names.",
     .example = "replies unknown --site mx.example.org"},
    {.group = "Further",
     .words = "lab wind",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .shown = "--scenario FILE",
     OPTIONS(wind_options),
     .help = "Compare laws of sending pace against model providers, in virtual time.",
     .more =
         "Ours, fixed limits and Postfix's feedback; times are multiples of an oracle's, which "
         "knows the limits.\ndocs/wind.md tells the form of a scenario; share/lab/wind/ has some.",
     .example = "lab wind --scenario share/lab/wind/steady.conf"},
    {.words = "help",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .argument = "verb",
     .shown = "[VERB]",
     .help = "This text; `gapura VERB --help` tells more.",
     .example = "help queue list"},
    {.words = "version",
     .flags = CTL_LOCAL | CTL_OFFLINE,
     .help = "Print the version; `gapura --version` does the same.",
     .example = "version"},
};
const size_t ctl_nverbs = ARRAY_LEN(ctl_verbs);

const struct ctl_option ctl_common[] = {
    {"json", CTL_FLAG, NULL, "JSON lines, for programs"},
    {"run-dir", CTL_TEXT, "DIR", "where the control sockets are (default /run/gapura)"},
    {"help", CTL_FLAG, NULL, "this text"},
};
const size_t ctl_ncommon = ARRAY_LEN(ctl_common);

const struct ctl_option *
ctl_option_find(const struct ctl_verb *verb, struct str name)
{
    for (size_t i = 0; i < verb->noptions; i++)
        if (str_eq(str_c(verb->options[i].name), name))
            return &verb->options[i];
    for (size_t i = 0; i < ctl_ncommon; i++)
        if (str_eq(str_c(ctl_common[i].name), name))
            return &ctl_common[i];
    return NULL;
}
