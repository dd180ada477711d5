/* SPDX-License-Identifier: Apache-2.0 */
/* error: wsc_strerror() from the one list in <wsc/error.h>. */
#include "wsc/error.h"

#include "base/mem.h"

_Static_assert(WSC_ENOMEM == MEM_ENOMEM, "base/ reports memory under the same number");

const char *wsc_strerror(int error)
{
	switch (error < 0 ? 0U - (unsigned)error : (unsigned)error) { /* INT_MIN has no negative */
	case 0:
		return "done";
#define WSC_ERROR_CASE(name, number, text) \
	case name:                         \
		return text;
		WSC_ERRORS(WSC_ERROR_CASE)
#undef WSC_ERROR_CASE
	default:
		return "unknown error";
	}
}
