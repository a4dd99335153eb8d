/*
 * gate/tx.h - one message from MAIL to its 250: envelope, recipients, body, records in flight.
 *
 * Comes from a free-list and goes back to it, so that a message costs no malloc. It outlives its
 * session when the client leaves while the log is writing. A message is split into variants when
 * one record cannot say it: another tenant, another class, a rewritten sender. All variants are
 * added together and the client gets its 250 when the last one is durable.
 */
#ifndef GAPURA_GATE_TX_H
#define GAPURA_GATE_TX_H

#include "auth/evidence.h"
#include "gate/body.h"
#include "gate/judging.h"
#include "gate/rcpt.h"
#include "gate/rcpt_set.h"
#include "gate/returned.h"
#include "mail/header.h"
#include "policy/verdict.h"
#include "spool/envelope.h"
#include "spool/writer.h"

#define TX_ARENA_MAX   (8u << 20)
#define TX_VARIANTS    8u
#define TX_SHOWN_RCPTS 50u /* named in the event; more are counted */

struct gate;
struct session;
struct tx;

struct tx_variant {
    struct tx *tx;
    struct spool_id id;
    uint32_t tenant;
    uint8_t class;
    bool rewritten;           /* the sender is the SRS form */
    bool added;               /* its record was given to the writer */
    struct spool_rcpt *rcpts; /* in the arena */
    uint32_t n, cap;
    struct rcpt_set set;     /* of their addresses */
    struct rcpt_set readers; /* of those that go through the reader of reports */
    struct record *record;   /* of its decision, once it is made; NULL: there is none */
    struct spool_chunk *chunks;
    uint32_t nchunks, cap_chunks;
    struct buf payload;
    struct spool_out out;
};

struct tx {
    struct gate *gate;
    struct session *session; /* NULL: gone before the message was whole */
    struct tx *next_free;
    struct verdict verdict;
    struct address sender; /* its texts are in the arena */
    struct str sender_key; /* A-labels, lower-case domain; empty for the null sender */
    struct str envid;
    uint64_t declared;   /* SIZE= */
    uint64_t hold_until; /* wall s, FUTURERELEASE; 0 none */
    uint64_t begun;      /* mono ns, MAIL */
    uint64_t received;   /* wall ns */
    uint32_t tenant;     /* of the one who submits; of the domain for strangers */
    uint8_t class, ret;
    bool body_8bit, utf8, requiretls, binary;
    uint64_t deliver_by; /* wall ns, if by_mode */
    uint8_t by_mode;     /* SPOOL_BY_* */
    bool by_trace;
    int8_t priority;
    bool lowered;   /* the priority is not the one that was asked for */
    bool may_relay; /* a login or a trusted network: any recipient */
    bool eight_bit; /* seen in the content */
    bool has_date, has_message_id;
    bool reserved;        /* chunk.c: a place is kept before all other chunks */
    bool viewed, emptied; /* front.c: the header was looked at; it was all white space */
    bool ended;           /* the whole body is here */
    bool committing;
    int status;       /* first failure of a record, negative */
    unsigned pending; /* records the writer has not told about yet */
    uint64_t pending_bytes;
    unsigned removed;           /* fields of the header that only we may write */
    unsigned noffice, nreports; /* of them: postmaster and abuse; where reports go */
    unsigned nrcpt;             /* recipients the client was told yes for */
    unsigned work;              /* entries of aliases looked at for all of them, refused ones too */
    unsigned nsrs;              /* of them: senders that we rewrote */
    uint64_t inside_max;   /* least size that the inside servers of all recipients take; 0 any */
    struct str first_rcpt; /* as the client wrote it */
    struct str message_id;
    struct str tls_version, tls_cipher, tls_peer, tls_peer_hash;
    struct str header;               /* block as the client sent it; in a block or in the arena */
    struct rcpt_query query;         /* the recipient being resolved */
    struct smtp_rcpt_params rcpt;    /* its parameters, copied */
    const struct finding *rcpt_mark; /* the last finding before its stage ran */
    uint64_t asked_at;               /* mono ns: when the recipient was first looked up */
    struct judging judging;          /* who judges each recipient, and the verdicts */
    unsigned nvariants;
    /* From here on: kept for the next message, or cleaned by its own function. */
    struct arena arena;
    struct body body;
    struct tx_variant variants[TX_VARIANTS];
    struct auth_evidence auth; /* of a stranger's message */
    struct returned returned;  /* of one that says it is a report */
};

struct tx *tx_take(struct gate *, struct session *); /* NULL: no memory */
/* Back to the free-list. Only when nothing is pending. */
void tx_give(struct tx *);
void tx_free_all(struct gate *);
/* The session lets go: what was not yet promised is void. NULL is fine. */
void tx_abandon(struct tx *);

/* The variant of that kind, made if need be; NULL if there are too many kinds. */
struct tx_variant *tx_variant(struct tx *, uint32_t tenant, uint8_t class, bool rewritten);
/* Adds unless it is there: its number among the variant's recipients, ERR_LIMIT. Texts are copied.
 */
int tx_add_rcpt(struct tx *, struct tx_variant *, const struct spool_rcpt *);

bool tx_pauses(const struct tx *, uint64_t limit); /* session_data.c */

/* chunk.c: all blocks held go to the writer, once for each variant. Sets tx->status on failure. */
void chunk_flush(struct tx *);
/* Ids of chunks that no message will ever name. */
void chunk_void(struct tx *);
void chunk_void_retry(void *gate);
void chunk_void_free(struct gate *);

/* What was found of a stranger's sender, as a chunk of its own that stands before all others. */
void chunk_results(struct tx *);

/* front.c. When the whole header is here: what is wanted of it is looked at (keep: its blocks are
 * about to leave), and the rest of what is held goes to whoever verifies the body. Once. */
void front_view(struct tx *, bool keep);
/* What is held goes there, but for the first bytes. */
void front_feed(struct tx *, size_t skip);
/* Before the first piece leaves or at the end: our fields, and the header without what only we may
 * write. front_results() comes before it, where all is known by then. */
void front_results(struct tx *, bool must); /* must: a place is kept, so there is something */
void front_write(struct tx *);

/* accept.c */
/* Everything has been said: writes the record and answers when it is durable. */
void accept_end(struct tx *);
/* One record of the message is over. */
void accept_progress(struct tx *);

#endif
