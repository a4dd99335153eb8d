/* Who may say what to whom: only over channels that are there, an answer only by who was asked. */
#include "net/dns.h"
#include "roles/role.h"
#include "store/asks.h"
#include "tap.h"

static unsigned
sayers(uint16_t type, enum role_id to)
{
    unsigned n = 0;

    for (unsigned from = 0; from < ROLE_MAX_; from++)
        n += role_may_say(from, to, type);
    return n;
}

static void
test_channels(void)
{
    for (unsigned a = 0; a < ROLE_MAX_; a++)
        for (unsigned b = 0; b < ROLE_MAX_; b++)
            IS((role_table[a].peers >> b) & 1, (role_table[b].peers >> a) & 1,
               "%s and %s know of each other", role_table[a].name, role_table[b].name);
    for (unsigned a = 0; a < ROLE_MAX_; a++)
        for (unsigned b = ROLE_SUPERVISOR + 1; b < ROLE_MAX_; b++) {
            bool says = false;
            for (unsigned type = 0; type <= UINT16_MAX; type++)
                says = says || role_may_say(a, b, (uint16_t)type);
            IS(says, (role_table[a].peers >> b) & 1, "%s speaks to %s", role_table[a].name,
               role_table[b].name);
        }
}

static void
test_answers(void)
{
    static const struct {
        uint16_t ask, answer;
    } pairs[] = {
        {DNS_MSG_ASK, DNS_MSG_ANSWER},        {ASK_AUTH_START, ASK_AUTH_ANSWER},
        {ASK_AUTH_STEP, ASK_AUTH_ANSWER},     {ASK_PASSWORD, ASK_PASSWORD_ANSWER},
        {ASK_SIGN, ASK_SIGN_ANSWER},          {ASK_KEY_MAKE, ASK_KEY_ANSWER},
        {ASK_LOOKUP, ASK_LOOKUP_ANSWER},      {ASK_CALLOUT, ASK_CALLOUT_ANSWER},
        {ASK_READ, ASK_READ_ANSWER},          {ASK_KEEP, ASK_KEEP_ANSWER},
        {ASK_EPOCH, ASK_EPOCH_ANSWER},        {ASK_SEGMENT, ASK_SEGMENT_ANSWER},
        {TELL_SNAPSHOT, TELL_SNAPSHOT_TAKEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        for (unsigned a = 0; a < ROLE_MAX_; a++)
            for (unsigned b = 0; b < ROLE_MAX_; b++)
                IS(role_may_say(b, a, pairs[i].answer), role_may_say(a, b, pairs[i].ask),
                   "%#x of %s, %#x of %s", pairs[i].ask, role_table[a].name, pairs[i].answer,
                   role_table[b].name);
    IS(sayers(TELL_FREE, ROLE_SPOOLER), 1, "one says that segments are settled");
    IS(sayers(TELL_RELOAD, ROLE_SUPERVISOR), 1, "one asks for a reload");
    IS(sayers(TELL_SHARE, ROLE_COURIER), 1, "one has a stream to follow");
    OK(!role_may_say(ROLE_GATE, ROLE_COURIER, 0), "what is not in the table nobody may say");
}

int
main(void)
{
    test_channels();
    test_answers();
    return tap_done();
}
