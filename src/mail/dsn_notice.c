/*
 * mail/dsn_notice.c - delivery notifications that a sending service mails as JSON: bounce,
 * complaint, delivery, delay; also inside of the envelope of its notification service.
 *
 * Called by mail/dsn for text that begins with an object. Pure; jansson bounds depth itself.
 */
#include <jansson.h>

#include "mail/dsn_inner.h"

#include "mail/date.h"

static const struct {
    const char *type;
    const char *object; /* holds the recipients */
    const char *list;   /* of recipients */
    enum dsn_action action;
    enum dsn_kind kind;
} notice_rows[] = {
    {"Bounce", "bounce", "bouncedRecipients", DSN_FAILED, DSN_KIND_FAILURE},
    {"Complaint", "complaint", "complainedRecipients", DSN_DELIVERED, DSN_KIND_FEEDBACK},
    {"Delivery", "delivery", "recipients", DSN_DELIVERED, DSN_KIND_DELIVERY},
    {"DeliveryDelay", "deliveryDelay", "delayedRecipients", DSN_DELAYED, DSN_KIND_DELAY},
};

static struct str
text_of(const json_t *object, const char *name)
{
    return str_c(json_string_value(json_object_get(object, name)));
}

static struct str
kept(struct dsn_list *list, struct str s)
{
    return s.n ? arena_str(list->arena, s) : STR_NONE;
}

static void
recipient(struct dsn_list *list, const json_t *one, const json_t *object, enum dsn_action action)
{
    struct str address = str_c(json_string_value(one)), reply = text_of(object, "smtpResponse");
    struct dsn_outcome *o = dsn_list_add(list);
    struct str status = text_of(one, "status");

    if (!o)
        return;
    o->action = action;
    o->final = kept(list, address.n ? address : text_of(one, "emailAddress"));
    reply = reply.n ? reply : text_of(one, "diagnosticCode");
    if (reply.n) {
        struct str rest, type = str_cut(reply, ';', &rest);

        if (str_ieq(type, STR("smtp")))
            reply = str_trim(rest);
        o->diagnostic = kept(list, reply);
        o->diagnostic_type = STR("smtp");
        dsn_explain(list, o, o->diagnostic);
        if (action == DSN_DELIVERED && reply.n > 9 && str_starts(reply, STR("2"))) {
            o->code = 250;
            dsn_status_set(o->status, str_trim(str_from(reply, 4)));
        }
    }
    if (dsn_status_vague(o->status) && dsn_status_len(status))
        dsn_status_set(o->status, status);
    if (!o->reply.n)
        o->reply = kept(list, text_of(object, "bounceSubType"));
    o->remote_mta = kept(list, text_of(object, "remoteMtaIp"));
}

static void
message(struct dsn_list *list, const json_t *root, const json_t *object, struct dsn_report *report)
{
    const json_t *mail = json_object_get(root, "mail");
    struct str id = text_of(json_object_get(mail, "commonHeaders"), "messageId");

    report->reporting_mta = kept(list, text_of(object, "reportingMTA"));
    report->envid = kept(list, text_of(mail, "messageId"));
    report->message_id = kept(list, id);
}

static bool
notice(struct dsn_list *list, const json_t *root, struct dsn_report *report)
{
    struct str type = text_of(root, "notificationType");

    if (!type.n)
        type = text_of(root, "eventType");
    for (size_t i = 0; type.n && i < ARRAY_LEN(notice_rows); i++) {
        const json_t *object = json_object_get(root, notice_rows[i].object), *one;
        struct str subtype = text_of(object, "complaintFeedbackType");
        enum dsn_action action = notice_rows[i].action;
        size_t k;

        if (!str_ieq(type, str_c(notice_rows[i].type)) || !object)
            continue;
        report->kind = notice_rows[i].kind;
        message(list, root, object, report);
        json_array_foreach(json_object_get(object, notice_rows[i].list), k, one)
            recipient(list, one, object, action);
        if (report->kind == DSN_KIND_FEEDBACK) {
            struct arf *arf = ARENA_NEW(list->arena, struct arf);

            if (arf) {
                arf->type = subtype.n ? kept(list, subtype) : STR("abuse");
                arf->user_agent = kept(list, text_of(object, "userAgent"));
                arf->incidents = 1;
            }
            report->feedback = arf;
        }
        return true;
    }
    return false;
}

bool
dsn_notice_read(struct dsn_list *list, struct str text, struct dsn_report *report)
{
    const size_t flags = JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES;
    json_t *root, *inner = NULL;
    struct str nested;
    struct buf whole;
    bool found;

    text = str_trim(text);
    while (text.n && strchr(" \t\r\n", text.p[0]))
        text = str_from(text, 1);
    if (!text.n || text.p[0] != '{')
        return false;
    /* Relays break lines over 998 bytes with "!", line end, space. */
    buf_init(&whole, list->limits->text);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '!' && i + 2 < text.n && text.p[i + 1] == '\n' && text.p[i + 2] == ' ')
            i += 2;
        else if (text.p[i] != '\n' && text.p[i] != '\r')
            buf_char(&whole, text.p[i]);
    }
    root = whole.failed ? NULL : json_loadb(whole.p, whole.n, flags, NULL);
    buf_done(&whole);
    nested = text_of(root, "Message");
    if (nested.n)
        inner = json_loadb(nested.p, nested.n, flags, NULL);
    found = (root && notice(list, root, report)) || (inner && notice(list, inner, report));
    json_decref(inner);
    json_decref(root);
    return found;
}
