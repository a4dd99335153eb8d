/*
 * checks/client.c - is the client's network denied by the settings? (docs/checks/client.md)
 *
 * Run at connect, for all clients: denial is stronger than trust. Asks nobody.
 */
#include "checks/table.h"
#include "store/settings.h"

static enum step
client_run(struct check_run *run, enum check_event event)
{
    const struct stage_facts *facts = check_facts(run);
    const struct settings_main *conf = conf_get(facts->conf, "");
    const struct prefix *denied = conf->denied.items;
    char shown[48], rule[64], list[48], text[256];

    (void)event;
    for (size_t i = 0; i < conf->denied.n; i++) {
        if (!prefix_has(&denied[i], &facts->client.addr))
            continue;
        str_fmt(rule, sizeof(rule), "%s/%u", addr_show(&denied[i].addr, shown),
                denied[i].bits - (addr_is_v4(&denied[i].addr) ? 96u : 0u));
        str_fmt(text, sizeof(text),
                "%s is not served here; its operator may write to postmaster@%.*s from elsewhere",
                addr_show(&facts->client.addr, shown), STR_ARG(facts->hostname));
        str_fmt(list, sizeof(list), "denied, settings %llu",
                (unsigned long long)facts->conf->generation);
        check_find(run, &(struct finding){.name = "denied-network",
                                          .input = str_c(shown),
                                          .rule = str_c(rule),
                                          .list = str_c(list),
                                          .weight = 1000,
                                          .action = VERDICT_REFUSE,
                                          .code = 554,
                                          .enhanced = "5.7.1",
                                          .text = str_c(text)});
        return STEP_DONE;
    }
    return STEP_NEXT;
}

static const char *const client_findings[] = {"denied-network", NULL};

const struct check check_client = {
    .name = "client",
    .stage = STAGE_CONNECT,
    .join = STAGE_CONNECT,
    .place = CHECK_IN_GATE,
    .cost = 1,
    .all_clients = true,
    .mode = CHECK_ON,
    .findings = client_findings,
    .run = client_run,
};
