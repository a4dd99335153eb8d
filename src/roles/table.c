/*
 * roles/table.c - one row a role: its main, its files, its sandbox, whom it may speak to.
 */
#include "roles/role.h"

#define BIT(role) (1u << ROLE_##role)

const struct role_row role_table[ROLE_MAX_] = {
    [ROLE_SUPERVISOR] = {.id = ROLE_SUPERVISOR, .name = "supervisor", .may = "bind and start"},
    [ROLE_SPOOLER] = {.id = ROLE_SPOOLER,
                      .name = "spooler",
                      .ops = &role_spooler_ops,
                      .sandbox = "spooler",
                      .peers = BIT(GATE) | BIT(COURIER),
                      .may = "write the spool directory; no network"},
    [ROLE_RESOLVER] = {.id = ROLE_RESOLVER,
                       .name = "resolver",
                       .ops = &role_resolver_ops,
                       .audience = BUNDLE_FOR_RESOLVER,
                       .sandbox = "resolver",
                       .peers = BIT(GATE) | BIT(COURIER) | BIT(KEEPER),
                       .may = "ask DNS"},
    [ROLE_KEYRING] = {.id = ROLE_KEYRING,
                      .name = "keyring",
                      .ops = &role_keyring_ops,
                      .sandbox = "keyring",
                      .peers = BIT(GATE) | BIT(KEEPER) | BIT(COURIER),
                      .may = "check passwords, sign; no network, no files"},
    [ROLE_KEEPER] = {.id = ROLE_KEEPER,
                     .name = "keeper",
                     .ops = &role_keeper_ops,
                     .audience = BUNDLE_FOR_KEEPER,
                     .sandbox = "keeper",
                     .peers = BIT(GATE) | BIT(KEYRING) | BIT(COURIER) | BIT(RESOLVER) | BIT(SCAN),
                     .may = "write the store, read tables, ask directories"},
    [ROLE_COURIER] = {.id = ROLE_COURIER,
                      .name = "courier",
                      .ops = &role_courier_ops,
                      .audience = BUNDLE_FOR_COURIER,
                      .sandbox = "courier",
                      .peers = BIT(GATE) | BIT(SPOOLER) | BIT(RESOLVER) | BIT(KEEPER) |
                               BIT(KEYRING) | BIT(SCAN),
                      .may = "read the spool, connect out"},
    [ROLE_GATE] = {.id = ROLE_GATE,
                   .name = "gate",
                   .ops = &role_gate_ops,
                   .audience = BUNDLE_FOR_GATE,
                   .sandbox = "gate",
                   .peers =
                       BIT(COURIER) | BIT(SPOOLER) | BIT(RESOLVER) | BIT(KEEPER) | BIT(KEYRING),
                   .may = "accept connections; open nothing by name"},
    [ROLE_DESK] = {.id = ROLE_DESK,
                   .name = "desk",
                   .ops = &role_desk_ops,
                   .sandbox = "desk",
                   .peers = 0,
                   .may = "serve the metrics page"},
    [ROLE_SCAN] = {.id = ROLE_SCAN,
                   .name = "scan",
                   .ops = &role_scan_ops,
                   .sandbox = "scan",
                   .peers = BIT(COURIER) | BIT(KEEPER),
                   .may = "read reports that it is handed; no network, no files"},
};

const struct role_row *
role_find(const char *name)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (role_table[i].ops && !strcmp(role_table[i].name, name))
            return &role_table[i];
    return NULL;
}
