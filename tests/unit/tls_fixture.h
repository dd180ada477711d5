/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_fixture: certificates that are made anew by the test and live in a directory that goes with it. It uses OpenSSL
 * and nothing of the product.
 */
#ifndef WSC_TESTS_UNIT_TLS_FIXTURE_H
#define WSC_TESTS_UNIT_TLS_FIXTURE_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct pair_of_files {
	char certificate[96], key[96];
};

static char directory[64];

static inline void remove_directory(void)
{
	char command[96];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command))
		printf("%s is left\n", directory);
}

static inline const char *scratch(void)
{
	if (!directory[0]) {
		signal(SIGPIPE, SIG_DFL); /* a write that raises it ends this program */
		snprintf(directory, sizeof directory, "/tmp/wsc-tls-test-XXXXXX");
		if (!mkdtemp(directory))
			abort();
		atexit(remove_directory);
	}
	return directory;
}

static inline X509 *make_x509(EVP_PKEY *key, const char *name, const char *alt)
{
	X509 *x = X509_new();
	X509_NAME *subject = X509_get_subject_name(x);
	X509_EXTENSION *e;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, subject);
	if (alt) {
		e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	X509_sign(x, key, EVP_sha256());
	return x;
}

/* A self-signed certificate for @name, and its key. */
static inline void make_files(struct pair_of_files *f, const char *leaf, const char *name, const char *alt)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = make_x509(key, name, alt);
	FILE *out;

	snprintf(f->certificate, sizeof f->certificate, "%s/%s.pem", scratch(), leaf);
	snprintf(f->key, sizeof f->key, "%s/%s.key", scratch(), leaf);
	out = fopen(f->certificate, "w");
	PEM_write_X509(out, x);
	fclose(out);
	out = fopen(f->key, "w");
	PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	X509_free(x);
	EVP_PKEY_free(key);
}

#endif
