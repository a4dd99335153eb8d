/*
 * checks/sender_key.c - will what is submitted here be signed for its author's domain?
 * (docs/checks/sender_key.md)
 *
 * Runs for logins and trusted networks, over the index of signing keys in memory. Asks nobody: the
 * keeper looks published records up now and then, and the index holds what it saw.
 */
#include "checks/table.h"
#include "mail/header.h"
#include "store/keys.h"

static int
first_domain(void *ctx, struct str mailbox)
{
    char *dst = ctx;
    struct address a;

    if (!dst[0] && address_parse(mailbox, ADDRESS_ALLOW_UTF8, &a) == 0 &&
        address_domain_ascii(a.domain, dst, 256) < 0)
        dst[0] = '\0';
    return 0;
}

/* Of the first author, as the courier will read it; empty if there is no telling. */
static struct str
author_domain(struct str header, char dst[256])
{
    struct header_field f;

    dst[0] = '\0';
    if (!header_find(header, STR("From"), &f) || header_mailboxes(f.value, first_domain, dst) <= 0)
        return STR_NONE;
    str_lower(dst, strlen(dst));
    return str_c(dst);
}

static void
key_find(struct check_run *run, const char *name, struct str domain, const char *text)
{
    char full[512];

    str_fmt(full, sizeof(full), "Mail from %.*s is not signed by its domain: %s", STR_ARG(domain),
            text);
    check_find(run, &(struct finding){.name = name,
                                      .rule = domain,
                                      .weight = 100,
                                      .action = VERDICT_REFUSE,
                                      .code = 550,
                                      .enhanced = "5.7.20",
                                      .text = str_c(full)});
}

static void
judge(struct check_run *run, const struct keys_set *set, uint32_t tenant, struct str domain)
{
    bool others = false, waiting = false, unseen = false;

    for (unsigned i = 0; i < set->n; i++) {
        const struct keys_public *k = &set->items[i];

        if (k->tenant != tenant)
            others = true;
        else if (k->state == KEYS_WAITING)
            waiting = true;
        else if (k->state == KEYS_ACTIVE && k->found != KEYS_MISSING && k->found != KEYS_DIFFERENT)
            return;
        else if (k->state == KEYS_ACTIVE)
            unseen = true;
    }
    if (unseen)
        key_find(run, "not-published", domain,
                 "the record of its key is not in DNS, or is another; ask the administrator of "
                 "this server");
    else if (waiting)
        key_find(run, "waiting", domain,
                 "its key waits until the record is seen in DNS; ask the administrator of this "
                 "server");
    else if (others)
        key_find(run, "other-tenant", domain, "its keys belong to somebody else here");
    else
        key_find(run, "no-key", domain, "no key of it signs; ask the administrator of this server");
}

static enum step
sender_key_run(struct check_run *run, enum check_event event)
{
    const struct stage_facts *facts = check_facts(run);
    struct keys_set set;
    struct str domain;
    char room[256];

    (void)event;
    if (!facts->keys)
        return STEP_NEXT;
    domain = author_domain(facts->header, room);
    if (!domain.n)
        return STEP_NEXT;
    if (keys_find(facts->keys, domain, &set))
        judge(run, &set, facts->tenant, domain);
    else
        key_find(run, "no-key", domain, "it has no key; ask the administrator of this server");
    return STEP_NEXT;
}

static const char *const sender_key_findings[] = {"no-key", "waiting", "not-published",
                                                  "other-tenant", NULL};

const struct check check_sender_key = {
    .name = "sender_key",
    .stage = STAGE_HEADER,
    .join = STAGE_HEADER,
    .place = CHECK_IN_GATE,
    .cost = 1,
    .all_clients = true,
    .of_keys = true,
    .mode = CHECK_OBSERVE,
    .findings = sender_key_findings,
    .run = sender_key_run,
};
