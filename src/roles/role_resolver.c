/*
 * roles/role_resolver.c - DNS for gate and courier, over libunbound; nothing else.
 */
#include <unistd.h>

#include "core/event.h"
#include "net/dns.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"

static int
resolver_start(struct role *r, struct why *why)
{
    const struct settings_dns *dns = conf_get(r->conf, "dns");
    struct dns_server *server = NULL;
    struct dns_server_conf conf = {
        .forward = dns->forward.items,
        .nforward = dns->forward.n,
        .trust_anchor_file = dns->trust_anchor,
        .hosts_zone = role_file(r, dns->local_data),
        .timeout_ns = dns->timeout,
    };
    int rc = dns_server_create(&server, r->loop, &conf, why);
    if (rc)
        return rc;
    r->self = server;
    char anchor[512] = "";
    str_copy(dns->trust_anchor, anchor, sizeof anchor);
    struct sandbox_path paths[] = {{anchor[0] ? anchor : NULL, SANDBOX_READ},
                                   {"/dev/urandom", SANDBOX_READ}};
    rc = sandbox_enter(r->row->sandbox, paths, ARRAY_LEN(paths), why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
resolver_message(struct role *r, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
                 int fd)
{
    fd_close(&fd);
    if (!r->self || !dns_server_message(r->self, role_chan(r, from), type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
resolver_stop(struct role *r)
{
    role_exit(r, 0);
}

const struct role_ops role_resolver_ops = {
    .start = resolver_start,
    .message = resolver_message,
    .stop = resolver_stop,
};
