/*
 * lab/wind_main.h - `gapura lab wind`: the comparison of laws of pace, printed.
 */
#ifndef GAPURA_LAB_WIND_MAIN_H
#define GAPURA_LAB_WIND_MAIN_H

/* argv[1] and argv[2] are "lab" and "wind". Returns the exit status: 0 printed, 1 the scenario
 * cannot be read or run, 2 wrong usage. */
int wind_main(int argc, char **argv);

#endif
