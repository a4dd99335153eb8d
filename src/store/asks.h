/*
 * store/asks.h - what roles ask each other over channels: numbers and bodies. The one list.
 *
 * A body is read with core/wire.h in the order given. Every ask has a timeout at the asker, and an
 * answer with the same id. (DNS: net/dns.h, 0x01xx.)
 */
#ifndef GAPURA_STORE_ASKS_H
#define GAPURA_STORE_ASKS_H

enum ask_type {
    /* gate -> keyring. session: the asker's number of the SASL exchange. */
    /* u64 session, str mech, u8 has_initial, str initial; then of its TLS: u8 plus_offered, str
     * exporter, str endpoint (net/sasl.h) */
    ASK_AUTH_START = 0x0201,
    ASK_AUTH_STEP = 0x0202,   /* u64 session, str response */
    ASK_AUTH_CANCEL = 0x0203, /* u64 session; no answer */
    ASK_AUTH_ANSWER = 0x0204, /* u8 enum auth_answer, str data, str user */
    /* keyring -> keeper: a plain password or a token, for a server that the keyring may not speak
     * to. mech: PLAIN, or OAUTHBEARER or XOAUTH2 with the whole response as password. */
    ASK_PASSWORD = 0x0205,        /* str mech, str user, str password */
    ASK_PASSWORD_ANSWER = 0x0206, /* u8 enum auth_answer, str user (as the server knows it) */
    /* courier -> keyring: signatures of one message's digests. n: 1 to SIGN_MAX. */
    ASK_SIGN = 0x0207,        /* u32 tenant, u16 n, n * (str domain, str selector, str digest) */
    ASK_SIGN_ANSWER = 0x0208, /* u16 n, n * (u8 enum sign_status, str signature) */
    /* keeper -> keyring: a new key, or one that was imported; it comes back sealed. */
    ASK_KEY_MAKE = 0x0209,   /* str domain, str selector, str tenant, u8 enum keys_alg, u16 bits,
                                str text (empty: make one) */
    ASK_KEY_ANSWER = 0x020a, /* u8 good, str why not, u8 alg, u16 bits, str public, str sealed */

    /* gate -> keeper: a recipient or alias that no snapshot holds (LDAP; SQLite over the limit). */
    ASK_LOOKUP = 0x0301,        /* str domain, str address_key */
    ASK_LOOKUP_ANSWER = 0x0302, /* u8 enum lookup_result, u32 ttl_s, u16 n, n * str address */

    /* gate -> courier: does the inside server of this domain take this recipient? */
    ASK_CALLOUT = 0x0401,        /* str domain, str sender, str address */
    ASK_CALLOUT_ANSWER = 0x0402, /* u8 enum lookup_result, u16 code, str text */
    /* courier -> gate, unasked: what a domain's inside server can take. */
    TELL_INSIDE = 0x0403, /* str domain, u64 max_size, u8 bits (INSIDE_*) */
    /* courier -> gate, unasked, about once a second: numbers for admission. */
    TELL_LOAD = 0x0404, /* u64 waiting, u64 lag_bytes */

    /* courier -> scan: mail that brings reports. fd: a sealed memfd with its bytes. */
    ASK_READ = 0x0701,        /* str id, u64 received s, u64 size; + fd */
    ASK_READ_ANSWER = 0x0702, /* u8 enum read_said, str text */
    /* scan -> keeper: what a report says (store/report_wire.h), in a sealed memfd. */
    ASK_KEEP = 0x0703,        /* + fd */
    ASK_KEEP_ANSWER = 0x0704, /* u8 enum keep_said, u64 number in the store, str text */

    /* writers and courier <-> spooler. */
    ASK_EPOCH = 0x0501,          /* u16 stream -> */
    ASK_EPOCH_ANSWER = 0x0502,   /* i64 as u64: epoch or negative, u32 node, u8 direct */
    ASK_SEGMENT = 0x0503,        /* u16 stream, u32 epoch -> */
    ASK_SEGMENT_ANSWER = 0x0504, /* u32 0 or -error as u32, then the segment (below); + fd */
    TELL_FREE = 0x0505,          /* u64 number, u64 generation, u8: 0 all settled and durable,
                                    1 its writer never made anything in it durable */
    TELL_FREED = 0x0506,         /* u64 number, u64 generation: re-headed; outcomes may go */
    TELL_SPACE = 0x0507,         /* u64 intake_bytes, u64 total, u8 intake_open */

    /* supervisor -> role. */
    TELL_SETTINGS = 0x0601, /* u64 generation + fd of the bundle (roles/bundle.h) */
    TELL_SNAPSHOT = 0x0602, /* u64 generation + fd (keeper -> roles by their own channel too) */
    TELL_SNAPSHOT_TAKEN = 0x0615, /* role -> keeper: u64 generation that is in use now */
    TELL_PEER = 0x0603,           /* u8 role, u8 index + fd: a channel to that role (again) */
    TELL_SHARE = 0x0604,          /* u16 stream, u32 epoch, u8 which (0 memfd, 1 eventfd) + fd */
    TELL_STOP = 0x0605,           /* finish what runs, then exit 0 */
    TELL_REOPEN = 0x0606,         /* + fd: new event file */
    TELL_LISTEN = 0x060a,         /* str name + fd: bound and listening */
    TELL_UNLISTEN = 0x060f,       /* str name: stop taking connections there */
    TELL_SINK = 0x060b,           /* u8 enum event_sink_kind, str prefix + fd: where events go */
    TELL_MASTER = 0x0616,         /* + fd: the master key's file, for the keyring alone */
    TELL_METRICS = 0x060c,        /* u8 slot + fd of the page */
    TELL_CONTROL = 0x060d,        /* + fd: the role's control socket, listening */
    TELL_START = 0x060e,          /* all of the above was said: begin */
    /* role -> supervisor. */
    TELL_READY = 0x0607,
    TELL_RELOAD = 0x0608,       /* control asks for a reload; answer ASK_RELOAD_ANSWER */
    ASK_RELOAD_ANSWER = 0x0609, /* u8 ok, str text */
    ASK_STATUS = 0x0610,
    ASK_STATUS_ANSWER = 0x0611, /* str: JSON objects, one a line */
    /* Answered in order: whatever the supervisor had said before is then known. */
    ASK_FENCE = 0x0613,
    ASK_FENCE_ANSWER = 0x0614,
    TELL_TAKEN = 0x0612, /* u64 generation, u8 taken, str why not */
    /* u8 role: it said what it may not, or what cannot be read. Both are started anew. */
    TELL_BROKEN = 0x0617,
    TELL_ALIVE = 0x0618, /* asked by the supervisor, said back at once: the role's loop turns */
};
enum lookup_result { LOOKUP_FOUND, LOOKUP_UNKNOWN, LOOKUP_TEMPORARY, LOOKUP_REFUSED };
/* The same numbers as enum smtp_auth_result. */
enum auth_answer { AUTH_ANSWER_OK, AUTH_ANSWER_CHALLENGE, AUTH_ANSWER_FAIL, AUTH_ANSWER_TEMP };
enum sign_status {
    SIGN_DONE,
    SIGN_REFUSED, /* not this tenant's key */
    SIGN_UNKNOWN, /* the keyring has no such key (yet) */
    SIGN_BROKEN,  /* it has, and what the store holds of it is no key */
    SIGN_BUSY,
    SIGN_FOREIGN,    /* sealed under another master key */
    SIGN_MASTERLESS, /* the keyring has no master key */
};
enum read_said {
    READ_KEPT,  /* its report is in the store */
    READ_AGAIN, /* the same report was there before */
    READ_NONE,  /* it brings no report */
    READ_BAD,   /* it does, and it cannot be read */
    READ_LATER, /* not now */
};
enum keep_said { KEEP_DONE, KEEP_AGAIN, KEEP_REFUSED, KEEP_LATER };
#define SIGN_MAX          4u /* signatures on one message */
#define INSIDE_8BITMIME   1u
#define INSIDE_SMTPUTF8   2u
#define INSIDE_KNOWN      4u /* the server has been asked; without it settings decide */
#define INSIDE_DSN        8u
#define INSIDE_BINARYMIME 16u /* and CHUNKING, over SMTP */

#endif
