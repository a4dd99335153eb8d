/*
 * checks/sender_key.c - will what is submitted here be signed for its author's domain?
 * (docs/checks/sender_key.md)
 *
 * Runs for logins and trusted networks, over the index of signing keys in memory. Asks nobody: the
 * keeper looks published records up now and then, and the index holds what it saw.
 */
#include "checks/table.h"
#include "store/keys.h"
#include "store/settings.h"

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

/* No key signs it: what there is of the domain. */
static void
why_none(struct check_run *run, const struct keys_set *set, uint32_t tenant, struct str domain)
{
    bool others = false, waiting = false;

    for (unsigned i = 0; i < set->n; i++) {
        others = others || set->items[i].tenant != tenant;
        waiting =
            waiting || (set->items[i].tenant == tenant && set->items[i].state == KEYS_WAITING);
    }
    if (waiting)
        key_find(run, "waiting", domain,
                 "its key waits until the record is seen in DNS; ask the administrator of this "
                 "server");
    else if (others)
        key_find(run, "other-tenant", domain, "its keys belong to somebody else here");
    else if (set->n)
        key_find(run, "no-key", domain, "no key of it signs; ask the administrator of this server");
    else
        key_find(run, "no-key", domain, "it has no key; ask the administrator of this server");
}

/* The same choice as the courier's: of the domain itself, or of one above (dkim.subdomains). */
static void
judge(struct check_run *run, const struct stage_facts *facts, struct str domain)
{
    static const struct settings_dkim plain = {.sign = true};
    const struct settings_dkim *d = facts->dkim ? facts->dkim : &plain;
    struct keys_choice all[KEYS_CHOSEN_MAX];
    unsigned n = keys_choose(facts->keys, d, domain, facts->tenant, all), own = 0;
    struct keys_set set = {.n = 0};

    for (unsigned i = 0; i < n; i++) {
        if (all[i].whose != KEYS_OWN)
            continue;
        own++;
        if (all[i].key.found != KEYS_MISSING && all[i].key.found != KEYS_DIFFERENT)
            return;
    }
    if (own) {
        key_find(run, "not-published", domain,
                 "the record of its key is not in DNS, or is another; ask the administrator of "
                 "this server");
        return;
    }
    (void)keys_find(facts->keys, domain, &set);
    why_none(run, &set, facts->tenant, domain);
}

static enum step
sender_key_run(struct check_run *run, enum check_event event)
{
    const struct stage_facts *facts = check_facts(run);
    struct str domain;
    char room[256];

    (void)event;
    if (!facts->keys)
        return STEP_NEXT;
    domain = keys_author(facts->header, room);
    if (domain.n)
        judge(run, facts, domain);
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
