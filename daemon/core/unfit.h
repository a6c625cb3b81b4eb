/* unfit.h - nodes that cannot start a child; see unfit.c. */
#ifndef PH_CORE_UNFIT_H
#define PH_CORE_UNFIT_H

#include "core/state.h"

/* Can it not be started on that node, as far as is known? */
bool ph_unfit(const struct ph_hub *hub, const struct ph_child *child, const struct ph_name *node);
void ph_unfit_mark(struct ph_hub *hub, struct ph_child *child, const struct ph_name *node);
/* Its process could not be started, `error`: true, and this node is marked: it is to be released.
 */
bool ph_unfit_pass_on(struct ph_hub *hub, struct ph_instance *instance, int error);

#endif
