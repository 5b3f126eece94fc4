/* executor: the C base of InterpreterThreadPoolExecutor. */
#ifndef AIOINTERP_EXECUTOR_H
#define AIOINTERP_EXECUTOR_H

#include "state.h"

int executor_register_types(struct state *state);

#endif
