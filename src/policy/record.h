/*
 * policy/record.h - the decision record: what was found, what it weighed for whom, what followed.
 *
 * Written once, when a message is decided: the gate makes it out of judgements, puts its bytes
 * beside the envelope into the log and its JSON into the event; explain reads the bytes back and
 * shows them as text. All of them are made here, from one struct, so they cannot say different
 * things. Totals are not stored: they are the sums of the lines, wherever they are shown.
 *
 * Bytes (little-endian; `str8` is a length and that many bytes):
 *
 *     version u8 = 1, flags u8 (1: SPF follows at the end), settings u64
 *     ngroups u8, name str8 each
 *     nfindings u8, each: check, name, input, rule, list str8; stage u8, action u8, observed u8
 *     nverdicts u8, each: profile str8, digest u32, observe u8, action u8, applied u8, would u8,
 *         by u8, would_by u8, missed u16, thresholds i32 x 4, nlines u8,
 *         each line: finding u8 (RECORD_CEILING, RECORD_REST), group u8, observed u8, weight i32
 *     nrcpt u32, verdict u8 each
 *     with flag 1: what policy/record_spf.h says
 *
 * Decoders take any bytes: counts are those of the bytes, and texts are views into them.
 */
#ifndef GAPURA_POLICY_RECORD_H
#define GAPURA_POLICY_RECORD_H

#include "policy/judgement.h"
#include "policy/record_spf.h"

#define RECORD_VERSION      1u
#define RECORD_MAX          (64u << 10) /* bytes of one; a usual one has some hundred */
#define RECORD_FINDINGS_MAX 120u
#define RECORD_GROUPS_MAX   100u
#define RECORD_LINES_MAX    200u /* of one verdict; what further ones weigh is one line */
#define RECORD_VERDICTS_MAX 16u
#define RECORD_RCPTS_MAX    4096u
#define RECORD_TEXT_MAX     120u        /* bytes of an input or a rule: more is cut */
#define RECORD_TEXTS_MAX    (10u << 10) /* of all findings: what comes then has none */

#define RECORD_CEILING  255u /* line.finding: what a group's ceiling cut off */
#define RECORD_REST     254u /* what lines that found no room weigh */
#define RECORD_NO_GROUP 255u
#define RECORD_NOT_TOLD 255u /* verdict of a recipient that found no room */

/* `by` and `would_by` of a verdict: a finding's number, or one of these. */
#define RECORD_BY_SUM     255u
#define RECORD_BY_NO_ROOM 254u

struct record_finding {
    struct str check, name, input, rule, list;
    uint8_t stage, action;
    bool observed;
};
struct record_line {
    uint8_t finding; /* number in the record, or RECORD_CEILING, RECORD_REST */
    uint8_t group;   /* number in the record, or RECORD_NO_GROUP */
    bool observed;
    int32_t weight;
};
struct record_verdict {
    struct str profile; /* empty: none applied */
    uint32_t digest;
    bool observe;
    uint8_t action, would, by, would_by;
    uint8_t applied; /* what became of the mail: action, unless other recipients took it */
    uint16_t missed;
    int64_t thresholds[VERDICT_ACTIONS_]; /* CONF_POINTS_NONE: never */
    struct record_line *lines;
    unsigned nlines;
    int64_t total, would_total; /* sums of the lines */
};
struct record {
    uint64_t settings; /* their generation */
    struct str *groups;
    struct record_finding *findings;
    struct record_verdict *verdicts;
    unsigned ngroups, nfindings, nverdicts;
    const uint8_t *of; /* number of the verdict for each recipient, by ordinal */
    uint32_t nof;      /* 0: verdict 0 is everybody's */
    bool untold;       /* more verdicts than found room: of those, nothing stands here */
    struct record_spf spf[RECORD_SPF_IDENTITIES]; /* how SPF came to its results */
    unsigned nspf;
};

/* Views into the judgements' findings; `of` (may be NULL) is kept as it is. Beyond the ceilings
 * texts are cut, lines are put together and verdicts are left out. ERR_NOMEM. */
int record_make(struct record *ret, struct arena *, uint64_t settings,
                const struct judgement *judgements, size_t n, const uint8_t *of, uint32_t nof);
void record_encode(struct buf *out, const struct record *);
/* ERR_CORRUPT, ERR_VERSION (a later one wrote it), ERR_NOMEM. */
int record_decode(struct record *ret, struct arena *, struct str bytes);

/* For people: several lines, each after the first begun with `indent`; no final line end. */
void record_text(struct buf *out, const struct record *, const char *indent);
/* One verdict as members of a JSON object: "score":150,"verdict":"pass", ... (docs/events.md): all
 * but its findings, then each line of them as an object; or the whole. */
void record_json_head(struct buf *out, const struct record_verdict *);
void record_json_line(struct buf *out, const struct record *, const struct record_line *);
void record_json(struct buf *out, const struct record *, const struct record_verdict *);

#endif
