#pragma once
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

#pragma clang assume_nonnull begin

// libcurl's setters and getters are variadic, which Swift cannot call: one typed line each.

static inline CURLcode covey_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode covey_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode covey_curl_set_string(CURL *easy, CURLoption option, const char *_Nullable value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode covey_curl_set_pointer(CURL *easy, CURLoption option, void *_Nullable value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode covey_curl_set_headers(CURL *easy, struct curl_slist *_Nullable list) {
    return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
}

typedef size_t (*covey_curl_data_function)(char *_Nullable bytes, size_t size, size_t count, void *_Nullable context);
static inline CURLcode covey_curl_set_data_function(CURL *easy, CURLoption option, covey_curl_data_function function) {
    return curl_easy_setopt(easy, option, function);
}
typedef int (*covey_curl_seek_function)(void *_Nullable context, curl_off_t offset, int origin);
static inline CURLcode covey_curl_set_seek_function(CURL *easy, covey_curl_seek_function function) {
    return curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, function);
}
typedef int (*covey_curl_progress_function)(
    void *_Nullable context, curl_off_t total, curl_off_t received, curl_off_t uploadTotal, curl_off_t sent);
static inline CURLcode covey_curl_set_progress_function(CURL *easy, covey_curl_progress_function function) {
    return curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, function);
}

/// A connection whose other side acknowledges nothing is closed after a while: `context` is that time in ms. A server that is only slow
/// acknowledges; its silence is the matter of other bounds.
static inline int covey_curl_socket_opened(void *_Nullable context, curl_socket_t socket, curlsocktype purpose) {
    int on = 1, second = 1, timeout = (int)(intptr_t)context;
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof second);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof second);
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    return CURL_SOCKOPT_OK;
}
static inline CURLcode covey_curl_set_unacknowledged_limit(CURL *easy, long milliseconds) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, covey_curl_socket_opened);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, (void *)(intptr_t)milliseconds);
}

static inline CURLcode covey_curl_get_private(CURL *easy, char *_Nullable *_Nonnull value) {
    return curl_easy_getinfo(easy, CURLINFO_PRIVATE, value);
}

/// Status of a proxy's answer to CONNECT; 0 without one.
static inline long covey_curl_get_connect_status(CURL *easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status;
}

static inline CURLMcode covey_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

/// What a finished transfer reports: its handle and result (`CURLMsg` holds a union that Swift cannot read well).
typedef struct {
    CURL *_Nullable easy;
    CURLcode result;
} covey_curl_finished;

/// The next finished transfer; `easy` is NULL when there is none.
static inline covey_curl_finished covey_curl_next_finished(CURLM *multi) {
    int remaining = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &remaining)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            covey_curl_finished finished = {message->easy_handle, message->data.result};
            return finished;
        }
    }
    covey_curl_finished none = {NULL, CURLE_OK};
    return none;
}

#pragma clang assume_nonnull end
