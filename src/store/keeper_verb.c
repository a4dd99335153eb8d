/*
 * store/keeper_verb.c - control verbs about logins: user.add user.password user.remove user.list.
 *
 * Called by the keeper's role for the control socket. Never shows a password or a verifier.
 */
#include <jansson.h>

#include "store/keeper_inner.h"
#include "store/users.h"

struct str
verb_arg(const struct verb_call *c, const char *name)
{
    const json_t *v = json_object_get(c->args, name);

    return str_of(json_string_value(v), json_string_length(v));
}

static struct str
arg(const struct verb_call *c, const char *name)
{
    return verb_arg(c, name);
}

static uint32_t
iterations(const struct keeper *k)
{
    const struct conf_section *s = conf_first(k->conf, "auth");
    const struct settings_auth *auth = s ? s->data : NULL;

    return auth ? (uint32_t)auth->iterations : 4096;
}

void
verb_end(const struct verb_call *c, int status, const char *text)
{
    c->reply->end(c->reply->ctx, status, text);
}

static void
end(const struct verb_call *c, int status, const char *text)
{
    verb_end(c, status, text);
}

static void
end_change(const struct verb_call *c, int r, const struct why *why, const char *done)
{
    if (r < 0) {
        end(c, 1, why->text[0] ? why->text : err_text(r));
        return;
    }
    keeper_publish_soon(c->keeper);
    end(c, 0, done);
}

static void
user_add(struct verb_call *c)
{
    struct str tenant = arg(c, "tenant"), login = arg(c, "login");
    bool silent = str_chr(login, '@') < 0 && !arg(c, "senders").n &&
                  !conf_find(c->keeper->conf, "user", login);
    struct why why = {{0}};

    if (tenant.n && !conf_find(c->keeper->conf, "tenant", tenant)) {
        end(c, 1, "there is no tenant of that name in the settings; nothing was changed");
        return;
    }
    end_change(
        c,
        users_add(c->keeper->store, login, arg(c, "password"), tenant, arg(c, "senders"),
                  iterations(c->keeper), &why),
        &why,
        silent ? "The login can be used now, but it is no address and may write as nobody: add a "
                 "block `user` of its name to the settings, or remove it and add it with --senders."
               : "The login can be used now.");
}

static void
user_password(struct verb_call *c)
{
    struct why why = {{0}};

    end_change(c,
               users_password(c->keeper->store, arg(c, "login"), arg(c, "password"),
                              iterations(c->keeper), &why),
               &why, "The new password is valid now.");
}

static void
user_remove(struct verb_call *c)
{
    struct why why = {{0}};

    if (!str_trim(arg(c, "reason")).n) {
        end(c, 2, "say why with --reason TEXT; nothing was changed");
        return;
    }
    end_change(c, users_remove(c->keeper->store, arg(c, "login"), arg(c, "reason"), &why), &why,
               "The login is gone; mail that it sent goes on.");
}

static int
list_row(void *ctx, struct str login, struct str tenant, struct str senders, uint64_t created)
{
    struct verb_call *c = ctx;
    struct str want_tenant = arg(c, "tenant"), want_domain = arg(c, "domain");
    ssize_t at = str_rchr(login, '@');
    struct buf line;

    if (want_tenant.n && !str_eq(want_tenant, tenant))
        return 0;
    if (want_domain.n && (at < 0 || !str_ieq(want_domain, str_from(login, (size_t)at + 1))))
        return 0;

    buf_init(&line, 1u << 20);
    buf_c(&line, "{\"login\":");
    buf_json(&line, login);
    buf_c(&line, ",\"tenant\":");
    buf_json(&line, tenant);
    buf_c(&line, ",\"senders\":");
    buf_json(&line, senders);
    buf_fmt(&line, ",\"created\":%llu}", (unsigned long long)created);
    if (!line.failed)
        c->reply->line(c->reply->ctx, buf_view(&line));
    buf_done(&line);
    c->n++;
    return 0;
}

static void
user_list(struct verb_call *c)
{
    char text[64];
    int r = users_list(c->keeper->store, list_row, c);

    str_fmt(text, sizeof(text), "%u login%s", c->n, c->n == 1 ? "" : "s");
    end(c, r < 0 ? 1 : 0, r < 0 ? err_text(r) : text);
}

static const struct keeper_verb_row user_verbs[] = {{"user.add", user_add, false},
                                                    {"user.password", user_password, false},
                                                    {"user.remove", user_remove, false},
                                                    {"user.list", user_list, true}};

static const struct keeper_verb_row *
find_verb(struct str verb)
{
    for (size_t i = 0; i < ARRAY_LEN(user_verbs); i++)
        if (str_eq(verb, str_c(user_verbs[i].name)))
            return &user_verbs[i];
    for (size_t i = 0; i < report_nverbs; i++)
        if (str_eq(verb, str_c(report_verbs[i].name)))
            return &report_verbs[i];
    for (size_t i = 0; i < domain_nverbs; i++)
        if (str_eq(verb, str_c(domain_verbs[i].name)))
            return &domain_verbs[i];
    return NULL;
}

/* What only passes through here. */
static void
wipe_secrets(const json_t *args)
{
    static const char *const names[] = {"password", "file"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *v = json_object_get(args, names[i]);

        if (json_is_string(v))
            explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    }
}

bool
keeper_verb_changes(struct str verb)
{
    const struct keeper_verb_row *v = find_verb(verb);

    return v && !v->reads;
}

bool
keeper_verb(struct keeper *k, struct str verb, struct str args, const struct keeper_reply *reply)
{
    const struct keeper_verb_row *v = find_verb(verb);
    struct verb_call c = {.keeper = k, .reply = reply};

    if (!v)
        return false;
    c.args = json_loadb(args.n ? args.p : "{}", args.n ? args.n : 2, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(c.args))
        v->run(&c);
    else
        end(&c, 2, "the arguments are not a JSON object");
    wipe_secrets(c.args);
    json_decref(c.args);
    return true;
}
