/*
 * roles/role_keyring.c - password verifiers and signing keys: no network, no files.
 *
 * The master key's file comes as a descriptor from the supervisor and is read before the sandbox
 * closes. Joins the store's signer to the DKIM keys of auth/.
 */
#include <unistd.h>

#include "auth/dkim_crypto.h"
#include "core/event.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "store/asks.h"
#include "store/keyring.h"
#include "store/keys.h"
#include "store/signer.h"

struct keyring_role {
    struct keyring *keyring;
    struct signer *signer;
};

_Static_assert((int)KEYS_RSA == (int)DKIM_RSA_SHA256 &&
                   (int)KEYS_ED25519 == (int)DKIM_ED25519_SHA256,
               "the store's numbers of algorithms are DKIM's");

/* --- what the signer asks of DKIM --- */

static int
crypto_make(uint8_t alg, unsigned bits, void **ret)
{
    return dkim_private_make((enum dkim_alg)alg, bits, (struct dkim_private **)ret);
}

static int
crypto_load(struct str text, void **ret, struct str *ret_why)
{
    return dkim_private_load(text, (struct dkim_private **)ret, ret_why);
}

static int
crypto_clone(const void *key, void **ret)
{
    return dkim_private_clone(key, (struct dkim_private **)ret);
}

static void
crypto_free(void *key)
{
    dkim_private_free(key);
}

static uint8_t
crypto_alg(const void *key)
{
    return (uint8_t)dkim_private_alg(key);
}

static unsigned
crypto_bits(const void *key)
{
    return dkim_private_bits(key);
}

static int
crypto_text(const void *key, struct buf *out)
{
    return dkim_private_text(key, out);
}

static ssize_t
crypto_public(const void *key, char *dst, size_t cap)
{
    return dkim_private_public(key, dst, cap);
}

static ssize_t
crypto_sign(void *key, uint8_t alg, const uint8_t *digest, size_t n, uint8_t *dst, size_t cap)
{
    return dkim_private_sign(key, (enum dkim_alg)alg, digest, n, dst, cap);
}

static const struct signer_crypto crypto = {
    .make = crypto_make,
    .load = crypto_load,
    .clone = crypto_clone,
    .free_key = crypto_free,
    .alg = crypto_alg,
    .bits = crypto_bits,
    .text = crypto_text,
    .public = crypto_public,
    .sign = crypto_sign,
};

/* --- the role --- */

static bool
master_read(struct role *r, struct seal_master *ret)
{
    char text[4096];
    /* The descriptor is one of several upon one open file: read at a place, not from where it is.
     */
    ssize_t n = r->master >= 0 ? pread(r->master, text, sizeof text, 0) : -1;
    bool good = n > 0 && !seal_master_parse(str_of(text, (size_t)n), ret);
    fd_close(&r->master);
    explicit_bzero(text, sizeof text);
    if (!good)
        event_alarm("the master key beside the store cannot be read: nothing can be signed and no "
                    "keys be made until its backup is back in place and the program restarted; "
                    "logins go on");
    return good;
}

static int
keyring_start(struct role *r, struct why *why)
{
    struct keyring_role *k = calloc(1, sizeof *k);
    struct keyring_links links = {.loop = r->loop, .keeper = role_chan(r, ROLE_KEEPER)};
    struct seal_master master;
    ENSURE(k);
    bool has = master_read(r, &master);
    struct signer_links signs = {
        .loop = r->loop, .crypto = &crypto, .master = has ? &master : NULL};
    int rc = keyring_create(&k->keyring, &links, r->conf, why);
    if (rc)
        return rc;
    k->signer = signer_create(&signs, r->conf);
    seal_master_wipe(&master);
    if (!k->signer)
        return why_set(why, ERR_NOMEM, "out of memory for the signing keys");
    r->self = k;
    rc = sandbox_enter(r->row->sandbox, NULL, 0, why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
take_snapshot(struct role *r, struct wire *body, int fd)
{
    struct keyring_role *k = r->self;
    uint64_t generation = wire_u64(body);
    int copy = dup(fd);
    if (copy < 0 || signer_set_snapshot(k->signer, copy)) {
        fd_close(&fd);
        event_warning("a snapshot of signing keys is damaged: the former one stays");
        return;
    }
    if (keyring_set_snapshot(k->keyring, fd)) {
        event_warning("a snapshot of verifiers is damaged: the former one stays");
        return;
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, generation);
    chan_send(role_chan(r, ROLE_KEEPER), TELL_SNAPSHOT_TAKEN, 0, &b, -1);
}

static void
keyring_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id,
                     struct wire *body, int fd)
{
    struct keyring_role *k = r->self;
    if (k && type == TELL_SNAPSHOT && from == ROLE_KEEPER) {
        take_snapshot(r, body, fd);
        return;
    }
    fd_close(&fd);
    /* Who may ask what: mail is signed for the courier, keys are made for the keeper. */
    bool signs = type == ASK_SIGN ? from == ROLE_COURIER : from == ROLE_KEEPER;
    if (k && signs && signer_message(k->signer, role_chan(r, from), type, id, body))
        return;
    if (!k || !keyring_message(k->keyring, role_chan(r, from), type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
keyring_peer(struct role *r, enum role_id id)
{
    struct keyring_role *k = r->self;
    if (id == ROLE_KEEPER)
        keyring_set_keeper(k->keyring, role_chan(r, id));
}

static void
keyring_peer_lost(struct role *r, enum role_id id)
{
    struct keyring_role *k = r->self;
    keyring_lost(k->keyring, role_chan(r, id));
    signer_lost(k->signer, role_chan(r, id));
}

static int
keyring_settings(struct role *r, struct conf *now, struct why *why)
{
    struct keyring_role *k = r->self;
    (void)why;
    keyring_set_conf(k->keyring, now);
    signer_set_conf(k->signer, now);
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
