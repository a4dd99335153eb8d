/*
 * roles/role_keyring.c - password verifiers and, later, signing keys: no network, no files.
 */
#include <unistd.h>

#include "core/event.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "store/asks.h"
#include "store/keyring.h"

static int
keyring_start(struct role *r, struct why *why)
{
    struct keyring *k = NULL;
    struct keyring_links links = {.loop = r->loop, .keeper = role_chan(r, ROLE_KEEPER)};
    int rc = keyring_create(&k, &links, r->conf, why);
    if (rc)
        return rc;
    r->self = k;
    rc = sandbox_enter(r->row->sandbox, NULL, 0, why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
keyring_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id,
                     struct wire *body, int fd)
{
    if (r->self && type == TELL_SNAPSHOT && from == ROLE_KEEPER) {
        uint64_t generation = wire_u64(body);
        if (keyring_set_snapshot(r->self, fd)) {
            event_warning("a snapshot of verifiers is damaged: the former one stays");
            return;
        }
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 64);
        put_u64(&b, generation);
        chan_send(role_chan(r, ROLE_KEEPER), TELL_SNAPSHOT_TAKEN, 0, &b, -1);
        return;
    }
    fd_close(&fd);
    if (!r->self || !keyring_message(r->self, role_chan(r, from), type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
keyring_peer(struct role *r, enum role_id id)
{
    if (id == ROLE_KEEPER)
        keyring_set_keeper(r->self, role_chan(r, id));
}

static void
keyring_peer_lost(struct role *r, enum role_id id)
{
    keyring_lost(r->self, role_chan(r, id));
}

static int
keyring_settings(struct role *r, struct conf *now, struct why *why)
{
    (void)why;
    keyring_set_conf(r->self, now);
    return 0;
}

static void
keyring_stop(struct role *r)
{
    role_exit(r, 0);
}

const struct role_ops role_keyring_ops = {
    .start = keyring_start,
    .settings = keyring_settings,
    .peer = keyring_peer,
    .peer_lost = keyring_peer_lost,
    .message = keyring_role_message,
    .stop = keyring_stop,
};
