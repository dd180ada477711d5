/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assets: the files that the program carries in itself: the pages and the API documents of web/. The table is
 * made at build time by tools/embed.py, is sorted by path, and never changes. It knows nothing of HTTP but the content
 * type of a file; the routes say who may see a page.
 */
#ifndef WSC_API_ASSETS_H
#define WSC_API_ASSETS_H

#include <stddef.h>

struct web_asset {
	const char *path;        /* the path of the request: "/" is web/index.html, "/app.js" is web/app.js */
	const char *type;        /* value of Content-Type */
	const unsigned char *at; /* the file, byte for byte; a NUL follows that is not counted */
	size_t len;
};

extern const struct web_asset web_assets[];
extern const size_t web_assets_count;

#endif
