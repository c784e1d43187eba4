#pragma once
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

// What OpenSSL has as macros, which Swift does not see: one typed line each.

static inline int covey_tls_set_minimum_version(SSL_CTX *context, int version) { return (int)SSL_CTX_set_min_proto_version(context, version); }
static inline void covey_tls_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }
static inline void covey_tls_set_session_cache(SSL_CTX *context, long mode) { SSL_CTX_set_session_cache_mode(context, mode); }
static inline void covey_tls_add_chain_certificate(SSL_CTX *context, X509 *certificate) { SSL_CTX_add1_chain_cert(context, certificate); }
static inline int covey_tls_set_server_name(SSL *tls, const char *name) { return (int)SSL_set_tlsext_host_name(tls, name); }
static inline void covey_tls_set_owner(SSL *tls, void *owner) { SSL_set_app_data(tls, owner); }
static inline void *covey_tls_owner(const SSL *tls) { return SSL_get_app_data(tls); }
static inline void covey_bio_reset(BIO *bio) { (void)BIO_reset(bio); }
static inline int covey_error_reason(unsigned long code) { return ERR_GET_REASON(code); }

/// The bytes that wait in a memory BIO, without taking them.
static inline long covey_bio_pending(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }

/// The connection that a chain of certificates is verified for.
static inline SSL *covey_tls_of(X509_STORE_CTX *store) { return (SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()); }

/// When a certificate ends, in seconds since 1970.
static inline long long covey_certificate_end(const X509 *certificate) {
    struct tm time;
    if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time)) return 0;
    return (long long)timegm(&time);
}

/// Writes the DNS names and IPv4 addresses that a certificate is for, in its order, separated by spaces and ended by 0; what does not fit
/// is left out, and what is no visible ASCII is written as `?`, because a peer may put anything there.
static inline void covey_certificate_names(const X509 *certificate, char *text, size_t capacity) {
    size_t used = 0;
    GENERAL_NAMES *names = (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char address[16];
        const char *bytes = NULL;
        size_t count = 0;
        if (name->type == GEN_DNS) {
            bytes = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
            count = (size_t)ASN1_STRING_length(name->d.dNSName);
        } else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4) {
            const unsigned char *part = ASN1_STRING_get0_data(name->d.iPAddress);
            count = (size_t)snprintf(address, sizeof address, "%d.%d.%d.%d", part[0], part[1], part[2], part[3]);
            bytes = address;
        }
        if (bytes == NULL || used + count + 2 > capacity) continue;
        if (used > 0) text[used++] = ' ';
        for (size_t j = 0; j < count; j++) text[used++] = bytes[j] > 0x20 && bytes[j] < 0x7f ? bytes[j] : '?';
    }
    text[used] = 0;
    GENERAL_NAMES_free(names);
}
