/* tests/unit/test_core_err.c - texts of codes are distinct and fit for people. */
#include "core/err.h"
#include "tap.h"

int
main(void)
{
    for (int a = ERR_TOOBIG; a <= ERR_SYNTAX; a++) {
        bool alone = true;

        for (int b = a + 1; b <= ERR_SYNTAX; b++)
            alone = alone && strcmp(err_text(a), err_text(b)) != 0;
        OK(alone, "text of %d is its own: %s", a, err_text(a));
    }
    return tap_done();
}
