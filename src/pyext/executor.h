/* executor: the C base of InterpreterThreadPoolExecutor. */
#ifndef AIOINTERP_EXECUTOR_H
#define AIOINTERP_EXECUTOR_H

#include "crew.h"
#include "state.h"

/* Borrowed; NULL with an exception when __init__() was not called. */
struct crew *executor_crew(PyObject *executor);

int executor_register_types(struct state *state);

#endif
