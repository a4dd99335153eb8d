/*
 * store/settings_arc.c - rows of the settings of ARC seals.
 *
 * Read by the parser, by `gapura check` and by the generator of the manual; used by the courier.
 */
#include "store/settings.h"

static const struct conf_row arc_rows[] = {
    {.name = "seal",
     CONF_ROW(BOOL, struct settings_arc, seal, .def = "no",
              .doc = "Seal strangers' mail that an alias sends on to the outside (RFC 8617): who "
                     "trusts us then sees what our guard found of the author before forwarding "
                     "broke it. Needs `verify`. Mail never waits for its seal longer than ten "
                     "seconds.")},
    {.name = "domain",
     CONF_ROW(DOMAIN, struct settings_arc, domain,
              .doc = "The domain that seals, with a key of `gapura domain dkim` that belongs to no "
                     "tenant. Receivers trust seals by this name.")},
    {.name = "selector",
     CONF_ROW(NAME, struct settings_arc, selector,
              .doc = "The key that seals; without it the domain's RSA key that signs, or Ed25519 "
                     "if there is no other, so that a rotation needs no change here.")},
};

static void
check_arc(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_arc *a = s->data;

    if (a->seal && !a->domain.n)
        conf_fail_row(errs, s, "domain",
                      "block `arc`: `seal = yes` needs `domain`, whose key seals; make one with "
                      "`gapura domain dkim add`");
}

const struct conf_block settings_arc_block = {
    .name = "arc",
    .size = sizeof(struct settings_arc),
    .rows = arc_rows,
    .nrows = ARRAY_LEN(arc_rows),
    .doc = "Seals (ARC) on strangers' mail that is forwarded to the outside.",
    .check = check_arc,
};
