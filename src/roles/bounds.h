/*
 * roles/bounds.h - what the loader and the supervisor agree on: ceilings of a plan, and the
 * order of the bundles' descriptors in its message.
 */
#ifndef GAPURA_ROLES_BOUNDS_H
#define GAPURA_ROLES_BOUNDS_H

#define PLAN_LISTENS     256u
#define PLAN_NAME_MAX    64u  /* of a listener, with its NUL */
#define PLAN_SOCKET_MAX  104u /* a path, with its NUL */
#define PLAN_FILES       256u
#define PLAN_FIXED       64u
#define PLAN_MESSAGE_MAX (192u << 10)
#define PLAN_NOTES_MAX   4096u

enum plan_bundle { PLAN_GATE, PLAN_COURIER, PLAN_RESOLVER, PLAN_KEEPER, PLAN_BARE, PLAN_BUNDLES };

#endif
