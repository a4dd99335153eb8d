/*
 * roles/table.c - one row a role: its main, its files, its sandbox, whom it may speak to; and one
 * row a message: who may say it to whom.
 */
#include "net/dns.h"
#include "roles/role.h"
#include "store/asks.h"

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

#define WRITERS (BIT(GATE) | BIT(COURIER))
#define ASKERS  (BIT(GATE) | BIT(COURIER) | BIT(KEEPER))
#define READERS (BIT(GATE) | BIT(COURIER) | BIT(KEYRING))
#define ALL     ((1u << ROLE_MAX_) - 1)

/* An answer counts from the role that was asked alone: else whoever takes over one role (by what a
 * name server said, say) could answer for the keyring that a password is right. */
static const struct {
    uint16_t type;
    uint32_t from, to;
} says[] = {
    {DNS_MSG_ASK, ASKERS, BIT(RESOLVER)},        {DNS_MSG_ANSWER, BIT(RESOLVER), ASKERS},
    {ASK_AUTH_START, BIT(GATE), BIT(KEYRING)},   {ASK_AUTH_STEP, BIT(GATE), BIT(KEYRING)},
    {ASK_AUTH_CANCEL, BIT(GATE), BIT(KEYRING)},  {ASK_AUTH_ANSWER, BIT(KEYRING), BIT(GATE)},
    {ASK_PASSWORD, BIT(KEYRING), BIT(KEEPER)},   {ASK_PASSWORD_ANSWER, BIT(KEEPER), BIT(KEYRING)},
    {ASK_SIGN, BIT(COURIER), BIT(KEYRING)},      {ASK_SIGN_ANSWER, BIT(KEYRING), BIT(COURIER)},
    {ASK_KEY_MAKE, BIT(KEEPER), BIT(KEYRING)},   {ASK_KEY_ANSWER, BIT(KEYRING), BIT(KEEPER)},
    {ASK_LOOKUP, BIT(GATE), BIT(KEEPER)},        {ASK_LOOKUP_ANSWER, BIT(KEEPER), BIT(GATE)},
    {ASK_CALLOUT, BIT(GATE), BIT(COURIER)},      {ASK_CALLOUT_ANSWER, BIT(COURIER), BIT(GATE)},
    {TELL_INSIDE, BIT(COURIER), BIT(GATE)},      {TELL_LOAD, BIT(COURIER), BIT(GATE)},
    {ASK_READ, BIT(COURIER), BIT(SCAN)},         {ASK_READ_ANSWER, BIT(SCAN), BIT(COURIER)},
    {ASK_KEEP, BIT(SCAN), BIT(KEEPER)},          {ASK_KEEP_ANSWER, BIT(KEEPER), BIT(SCAN)},
    {ASK_EPOCH, WRITERS, BIT(SPOOLER)},          {ASK_EPOCH_ANSWER, BIT(SPOOLER), WRITERS},
    {ASK_SEGMENT, WRITERS, BIT(SPOOLER)},        {ASK_SEGMENT_ANSWER, BIT(SPOOLER), WRITERS},
    {TELL_FREE, BIT(COURIER), BIT(SPOOLER)},     {TELL_FREED, BIT(SPOOLER), BIT(COURIER)},
    {TELL_SPACE, BIT(SPOOLER), WRITERS},         {TELL_SNAPSHOT, BIT(KEEPER), READERS},
    {TELL_SNAPSHOT_TAKEN, READERS, BIT(KEEPER)}, {TELL_SHARE, BIT(GATE), BIT(COURIER)},
    {TELL_READY, ALL, BIT(SUPERVISOR)},          {TELL_ALIVE, ALL, BIT(SUPERVISOR)},
    {TELL_TAKEN, ALL, BIT(SUPERVISOR)},          {TELL_BROKEN, ALL, BIT(SUPERVISOR)},
    {TELL_RELOAD, BIT(DESK), BIT(SUPERVISOR)},   {ASK_STATUS, BIT(DESK), BIT(SUPERVISOR)},
    {ASK_FENCE, BIT(COURIER), BIT(SUPERVISOR)},
};

bool
role_may_say(enum role_id from, enum role_id to, uint16_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(says); i++)
        if (says[i].type == type)
            return (says[i].from & (1u << from)) && (says[i].to & (1u << to));
    return false;
}
