/* workqueue: what executor._work_queue gives, for those who monitor or empty a pool's queue. */
#ifndef AIOINTERP_WORKQUEUE_H
#define AIOINTERP_WORKQUEUE_H

#include "crew.h"
#include "state.h"

PyObject *workqueue_new(struct state *state, struct crew *crew);
int workqueue_register_types(struct state *state);

#endif
