/* combine: work that many threads hand in, and one of them does for all.
 *
 * Who adds to an idle combiner has the role of doing the work, and takes until nothing is left; the
 * others have only to add. So one attach, or one wake-up, serves everything that came meanwhile.
 *
 *     if (combiner_add(&combiner, node)) {
 *         while ((node = combiner_take(&combiner)) != NULL) { ... a chain by `next`, do it all ... }
 *     }
 *
 * No locks: a stack that is pushed by compare-and-swap and taken whole, so no node is ever popped
 * beside a push (no ABA). Nothing here blocks. What the adder wrote is seen by who takes the node.
 */
#ifndef AIOINTERP_COMBINE_H
#define AIOINTERP_COMBINE_H

#include <stdatomic.h>
#include <stdbool.h>

/* Embedded in the work. */
struct combined {
    struct combined *next; /* the adder's, then the taker's */
};

struct combiner {
    _Atomic(struct combined *)
        head; /* NULL: nobody has the role; else the last that was added, or a
                                        mark while there is none */
};

void combiner_init(struct combiner *combiner);

/* True: the caller has the role now, and takes until it gets NULL. */
bool combiner_add(struct combiner *combiner, struct combined *node);

/* For who has the role: all that was added, in the order of arrival, linked by `next`. NULL: there is
 * nothing, and the role is given up. */
struct combined *combiner_take(struct combiner *combiner);

#endif
