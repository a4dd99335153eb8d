/*
 * mail/address.c - mailboxes and paths by the grammar of RFC 5321 4.1.2 with RFC 6531 3.3.
 *
 * Called by the SMTP engine for MAIL and RCPT, and by whoever imports addresses. Strict on purpose:
 * comments, folding and the obsolete forms of RFC 5322 are no SMTP addresses. Never asks DNS.
 */
#include <idn2.h>

#include "mail/address.h"

#define LABEL_MAX 63u
/* RFC 5321 4.5.3.1.3: a path is 256 octets with its angle brackets. */
#define MAILBOX_MAX 254u

static bool
is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static bool
is_atext(unsigned char c)
{
    return is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Bytes of the non-ASCII character at s, 0 if there is none that a mailbox may hold. */
static size_t
utf8_len(struct str s)
{
    size_t n = str_utf8_len(s);

    if (n < 2)
        return 0;
    /* C1 controls are U+0080 to U+009F: C2 80 to C2 9F. */
    if ((unsigned char)s.p[0] == 0xc2 && (unsigned char)s.p[1] < 0xa0)
        return 0;
    return n;
}

/* Length of a dot-string at the start of s; 0 if there is none. */
static size_t
dot_string(struct str s, bool utf8, bool *ret_utf8)
{
    size_t i = 0, len;
    bool need = true; /* an atom must begin here */

    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_atext(c)) {
            need = false;
            i++;
        } else if (c == '.' && !need) {
            need = true;
            i++;
        } else if (c >= 128 && utf8 && (len = utf8_len(str_from(s, i)))) {
            *ret_utf8 = true;
            need = false;
            i += len;
        } else {
            break;
        }
    }
    return need ? 0 : i;
}

bool
address_local_plain(struct str local)
{
    bool seen;

    return local.n && dot_string(local, true, &seen) == local.n;
}

/* Length of a quoted string at the start of s, both quotes included; 0 if it is none. */
static size_t
quoted_string(struct str s, bool utf8, bool *ret_utf8)
{
    size_t i = 1, len;

    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"')
            return i + 1;
        if (c == '\\') {
            if (i + 1 >= s.n || s.p[i + 1] < 32 || s.p[i + 1] > 126)
                return 0;
            i += 2;
        } else if (c >= 32 && c <= 126) {
            i++;
        } else if (c >= 128 && utf8 && (len = utf8_len(str_from(s, i)))) {
            *ret_utf8 = true;
            i += len;
        } else {
            return 0;
        }
    }
    return 0;
}

/*
 * RFC 5321 4.1.3 on top of what an IPv6 parser takes: "::" stands for two groups or more, so at
 * most six others may be written (an IPv4 tail counts as two).
 */
static bool
ipv6_groups_ok(struct str s)
{
    unsigned groups = 0;
    bool in = false;

    if (str_find(s, STR("::")) < 0)
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != ':' && !in)
            groups++;
        in = s.p[i] != ':';
    }
    if (str_chr(s, '.') >= 0)
        groups++;
    return groups <= 6;
}

static bool
literal_ok(struct str s, struct addr *ret)
{
    if (s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    s = str_sub(s, 1, s.n - 2);
    if (!str_istarts(s, STR("IPv6:")))
        return str_chr(s, ':') < 0 && str_chr(s, '[') < 0 && addr_parse(s, ret) == 0;
    s = str_from(s, 5);
    return str_chr(s, ':') >= 0 && str_chr(s, '[') < 0 && addr_parse(s, ret) == 0 &&
           ipv6_groups_ok(s);
}

static int
check_lengths(const struct address *a)
{
    if (a->domain.n > ADDRESS_DOMAIN_MAX || a->text.n > MAILBOX_MAX)
        return ERR_LIMIT;
    return 0;
}

int
address_parse(struct str text, unsigned flags, struct address *ret)
{
    bool utf8 = flags & ADDRESS_ALLOW_UTF8, seen = false;
    struct address a = {.text = text};
    struct addr ip;
    size_t n;

    if (!text.n) {
        if (!(flags & ADDRESS_ALLOW_NULL))
            return ERR_SYNTAX;
        a.null = true;
        *ret = a;
        return 0;
    }
    a.quoted = text.p[0] == '"';
    n = a.quoted ? quoted_string(text, utf8, &seen) : dot_string(text, utf8, &seen);
    if (!n)
        return ERR_SYNTAX;
    a.local = str_sub(text, 0, n);
    a.local_utf8 = a.utf8 = seen;
    if (n == text.n) {
        if (!(flags & ADDRESS_ALLOW_POSTMASTER) || !str_ieq(text, STR("postmaster")))
            return ERR_SYNTAX;
        a.domain = str_from(text, n);
        *ret = a;
        return 0;
    }
    if (text.p[n] != '@')
        return ERR_SYNTAX;
    a.domain = str_from(text, n + 1);
    if (check_lengths(&a) < 0)
        return ERR_LIMIT;
    if (a.domain.n && a.domain.p[0] == '[') {
        a.literal = literal_ok(a.domain, &ip);
        if (!a.literal)
            return ERR_SYNTAX;
    } else {
        bool ascii = str_is_ascii(a.domain);

        if ((!ascii && !utf8) || !address_domain_ok(a.domain))
            return ERR_SYNTAX;
        a.utf8 = a.utf8 || !ascii;
    }
    *ret = a;
    return 0;
}

/* Skips "@a,@b:" at the start of s: bytes skipped, 0 if there is no route, negative if broken. */
static ssize_t
source_route(struct str s)
{
    ssize_t colon;
    struct str list, hop;

    if (!s.n || s.p[0] != '@')
        return 0;
    colon = str_chr(s, ':');
    if (colon < 0)
        return ERR_SYNTAX;
    list = str_sub(s, 0, (size_t)colon);
    while (list.n) {
        hop = str_cut(list, ',', &list);
        if (hop.n < 2 || hop.p[0] != '@' || !address_domain_ok(str_from(hop, 1)))
            return ERR_SYNTAX;
    }
    return colon + 1;
}

/* Index of the '>' that ends the path, outside of quoted text; -1 if there is none. */
static ssize_t
path_end(struct str s)
{
    bool quoted = false;

    for (size_t i = 1; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == '>' && !quoted)
            return (ssize_t)i;
    }
    return -1;
}

int
address_path(struct str text, unsigned flags, struct address *ret, struct str *rest)
{
    struct str inner;
    ssize_t end, skip;
    int rc;

    if (!text.n || text.p[0] != '<' || (end = path_end(text)) < 0)
        return ERR_SYNTAX;
    inner = str_sub(text, 1, (size_t)end - 1);
    skip = source_route(inner);
    if (skip < 0)
        return (int)skip;
    if (skip > 0)
        flags &= ~(ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_POSTMASTER);
    rc = address_parse(str_from(inner, (size_t)skip), flags, ret);
    if (rc < 0)
        return rc;
    *rest = str_from(text, (size_t)end + 1);
    return 0;
}

/* Letters, digits, hyphens inside: labels of 1 to 63, no final dot. */
static bool
ldh_ok(struct str s)
{
    size_t label = 0;

    if (!s.n || s.n > ADDRESS_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '.') {
            if (!label || s.p[i - 1] == '-')
                return false;
            label = 0;
        } else if (is_alnum(c) || (c == '-' && label)) {
            if (++label > LABEL_MAX)
                return false;
        } else {
            return false;
        }
    }
    return label && s.p[s.n - 1] != '-';
}

bool
address_domain_ok(struct str domain)
{
    char ascii[ADDRESS_DOMAIN_MAX + 1];

    if (str_ends(domain, STR(".")))
        return false;
    return address_domain_ascii(domain, ascii, sizeof(ascii)) > 0;
}

/* ASCII bytes in a name with U-labels: letters, digits, hyphen, dot; the mapping must not see more.
 */
static bool
ulabel_bytes_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 128 && !is_alnum(c) && c != '-' && c != '.')
            return false;
    }
    return true;
}

/*
 * IDNA 2008 with the lower-casing that people expect (UTS 46 non-transitional). Its mapping may
 * make dots of other dots, so the outcome is judged once more as a plain name.
 */
static ssize_t
domain_idna(struct str domain, char *dst, size_t cap)
{
    char text[ADDRESS_DOMAIN_MAX + 1];
    char *ascii = NULL;
    ssize_t n = ERR_SYNTAX;
    struct str out;

    if (!str_is_utf8(domain) || !ulabel_bytes_ok(domain) || !str_copy(domain, text, sizeof(text)))
        return ERR_SYNTAX;
    if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return ERR_SYNTAX;
    out = str_c(ascii);
    if (ldh_ok(out) && str_copy(out, dst, cap)) {
        str_lower(dst, out.n);
        n = (ssize_t)out.n;
    }
    idn2_free(ascii);
    return n;
}

ssize_t
address_domain_ascii(struct str domain, char *dst, size_t cap)
{
    if (domain.n > 1 && domain.p[domain.n - 1] == '.')
        domain.n--;
    if (!str_is_ascii(domain))
        return domain_idna(domain, dst, cap);
    if (!ldh_ok(domain) || !str_copy(domain, dst, cap))
        return ERR_SYNTAX;
    str_lower(dst, domain.n);
    return (ssize_t)domain.n;
}

/* The local part's meaning without quotes and backslashes into dst; its length. */
static size_t
unquote(struct str local, char *dst)
{
    size_t n = 0;

    for (size_t i = 1; i + 1 < local.n; i++) {
        if (local.p[i] == '\\')
            i++;
        dst[n++] = local.p[i];
    }
    return n;
}

/* Local part as a key: bare if it can be, else quoted with as few backslashes as possible. */
static size_t
local_key(const struct address *a, char *dst)
{
    char bare[MAILBOX_MAX + 1];
    size_t n, at = 0;

    if (!a->quoted) {
        memcpy(dst, a->local.p, a->local.n);
        return a->local.n;
    }
    n = unquote(a->local, bare);
    if (address_local_plain(str_of(bare, n))) {
        memcpy(dst, bare, n);
        return n;
    }
    dst[at++] = '"';
    for (size_t i = 0; i < n; i++) {
        if (bare[i] == '"' || bare[i] == '\\')
            dst[at++] = '\\';
        dst[at++] = bare[i];
    }
    dst[at++] = '"';
    return at;
}

/* The domain part as a key; a literal in its one canonical spelling. */
static ssize_t
domain_key(const struct address *a, char *dst, size_t cap)
{
    struct addr ip;
    char shown[48];

    if (!a->literal)
        return address_domain_ascii(a->domain, dst, cap);
    if (!literal_ok(a->domain, &ip))
        return ERR_SYNTAX;
    return (ssize_t)str_fmt(dst, cap, "[%s%s]",
                            addr_is_v4(&ip) ? "" : "ipv6:", addr_show(&ip, shown));
}

ssize_t
address_key(const struct address *a, char *dst, size_t cap)
{
    ssize_t domain;
    size_t n;

    if (cap < ADDRESS_MAX + 1 || a->local.n > MAILBOX_MAX)
        return ERR_LIMIT;
    dst[0] = '\0';
    if (a->null)
        return 0;
    n = local_key(a, dst);
    if (!a->domain.n) {
        str_lower(dst, n); /* postmaster, in any case of letters */
        dst[n] = '\0';
        return (ssize_t)n;
    }
    dst[n++] = '@';
    domain = domain_key(a, dst + n, cap - n);
    return domain < 0 ? domain : (ssize_t)n + domain;
}

ssize_t
address_downgrade(struct str mailbox, char *dst, size_t cap)
{
    struct address a;
    ssize_t n;
    int rc = address_parse(mailbox, ADDRESS_ALLOW_UTF8, &a);

    if (rc < 0)
        return rc;
    if (a.local_utf8)
        return ERR_UNSUPPORTED;
    if (!a.utf8)
        return str_copy(mailbox, dst, cap) ? (ssize_t)mailbox.n : ERR_LIMIT;
    if (cap < a.local.n + 2)
        return ERR_LIMIT;
    memcpy(dst, a.local.p, a.local.n);
    dst[a.local.n] = '@';
    n = address_domain_ascii(a.domain, dst + a.local.n + 1, cap - a.local.n - 1);
    return n < 0 ? n : n + (ssize_t)a.local.n + 1;
}
