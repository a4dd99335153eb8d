/*
 * roles/trial.h - a child that closes a sandbox profile and then tries what it must not: the test
 * of the profiles, in the very program they guard.
 */
#ifndef GAPURA_ROLES_TRIAL_H
#define GAPURA_ROLES_TRIAL_H

/* argv: PROFILE WHAT [PATH [PERMITTED]]. WHAT: nothing socket open write exec fork ptrace. Exit 0:
 * it was possible; 3: refused with an error; killed by SIGSYS: forbidden. */
int trial_main(int argc, char **argv);

#endif
