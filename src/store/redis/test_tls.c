/* SPDX-License-Identifier: Apache-2.0 */
/* test_tls.c: TLS to a real redis-server: whom we trust, whom it trusts, and what is said when one does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis/test_client.h"
#include "store/redis/test_server.h"
#include "store/redis/tls.h"

#define SECOND UINT64_C(1000000)

/* Certificates: an authority and what it vouches for, another authority that nobody knows, each made by openssl. */
static struct test_redis redis;    /* asks for no certificate of ours */
static struct test_redis strict;   /* asks for one */
static struct test_redis outdated; /* its own has expired */
static struct test_redis misnamed; /* its own names another host */
static char folder[sizeof redis.folder];

static const char make_certificates[] =
	"set -e; cd \"$1\"\n"
	"key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \"$1.key\"; }\n"
	"authority() { key $1; openssl req -x509 -new -key $1.key -subj /CN=$1 -days 30 -out $1.crt; }\n"
	/* name, subjectAltName, authority, days */
	"issue() { key $1; openssl req -new -key $1.key -subj /CN=$1 -out $1.csr;\n"
	"  printf 'subjectAltName=%s' \"$2\" > $1.ext;\n"
	"  openssl x509 -req -in $1.csr -CA $3.crt -CAkey $3.key -CAcreateserial -days $4 -extfile $1.ext -out $1.crt; "
	"}\n"
	"authority ca; authority other\n"
	"issue server DNS:localhost,IP:127.0.0.1 ca 30\n"
	"issue expired DNS:localhost,IP:127.0.0.1 ca -1\n"
	"issue elsewhere DNS:*.example,DNS:local*,IP:10.0.0.1 ca 30\n"
	"issue client DNS:client ca 30\n"
	"issue stranger DNS:client other 30\n"
	"openssl pkey -in client.key -aes256 -passout pass:x -out locked.key\n"
	"echo nonsense > nonsense.pem\n";

static const char *in_folder(char to[128], const char *name)
{
	snprintf(to, 128, "%s/%s", folder, name);
	return to;
}

static void run_openssl(void)
{
	char command[sizeof make_certificates + 256], path[128];
	FILE *script = fopen(in_folder(path, "make.sh"), "wb");

	assert_non_null(script);
	fputs(make_certificates, script);
	assert_int_equal(fclose(script), 0);
	snprintf(command, sizeof command, "sh '%s' '%s' > '%s/openssl.log' 2>&1", path, folder, folder);
	if (system(command) != 0)
		fail_msg("openssl made no certificates; see %s/openssl.log", folder);
}

/* The servers share the folder of the first. */
static void start(struct test_redis *server, const char *const *options)
{
	memcpy(server->folder, folder, sizeof folder);
	test_redis_start(server, true, options);
}

#define TLS_OPTIONS(name, auth)                                                                                        \
	{                                                                                                              \
		"--tls-cert-file", "%s" name ".crt", "--tls-key-file", "%s" name ".key", "--tls-ca-cert-file",         \
			"%sca.crt", "--tls-auth-clients", auth, NULL                                                   \
	}

static int set_up(void **state)
{
	static const char *const usual[] = TLS_OPTIONS("server", "no"), *const asks[] = TLS_OPTIONS("server", "yes"),
				 *const old[] = TLS_OPTIONS("expired", "no"),
				 *const wrong[] = TLS_OPTIONS("elsewhere", "no");

	test_redis_folder(&redis);
	memcpy(folder, redis.folder, sizeof folder);
	run_openssl();
	start(&redis, usual);
	start(&strict, asks);
	start(&outdated, old);
	start(&misnamed, wrong);
	return 0;
}

static int tear_down(void **state)
{
	strict.folder[0] = outdated.folder[0] = misnamed.folder[0] = '\0';
	test_redis_stop(&strict);
	test_redis_stop(&outdated);
	test_redis_stop(&misnamed);
	test_redis_stop(&redis);
	return 0;
}

static struct redis_tls *context(const char *ca, const char *cert, const char *key)
{
	char paths[3][128], why[512] = "";
	struct redis_tls *tls = redis_tls_new(ca != NULL ? in_folder(paths[0], ca) : NULL,
	                                      cert != NULL ? in_folder(paths[1], cert) : "",
	                                      key != NULL ? in_folder(paths[2], key) : "", why, sizeof why);

	if (tls == NULL)
		fail_msg("%s", why);
	return tls;
}

static void who_trusts_whom(void **state)
{
	static const struct {
		struct test_redis *server;
		const char *host, *ca, *cert, *key;
		int error;
		const char *why; /* NULL: let in */
	} cases[] = {
		{ &redis, "localhost", "ca.crt", NULL, NULL, 0, NULL },
		{ &redis, "127.0.0.1", "ca.crt", NULL, NULL, 0, NULL },
		{ &redis, "127.0.0.1", "ca.crt", "client.crt", "client.key", 0, NULL },
		{ &strict, "localhost", "ca.crt", "client.crt", "client.key", 0, NULL },
		{ &redis, "localhost", NULL, NULL, NULL, -EACCES,
		  "give the authority that made it in limiter.tls_ca_file" },
		{ &redis, "localhost", "other.crt", NULL, NULL, -EACCES,
		  "limiter.tls_ca_file must hold the authority that made it" },
		{ &misnamed, "localhost", "ca.crt", NULL, NULL, -EACCES, "its certificate does not name localhost" },
		{ &misnamed, "127.0.0.1", "ca.crt", NULL, NULL, -EACCES, "its certificate does not name 127.0.0.1" },
		{ &outdated, "localhost", "ca.crt", NULL, NULL, -EACCES,
		  "its certificate is not valid at this time: certificate has expired" },
		{ &strict, "localhost", "ca.crt", NULL, NULL, -EPROTO, "it may ask for a certificate of ours" },
		{ &strict, "localhost", "ca.crt", "stranger.crt", "stranger.key", -EPROTO, "limiter.tls_cert_file" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct redis_access access = { .name = "tls",
			                       .tls = context(cases[i].ca, cases[i].cert, cases[i].key) };
		struct test_client client;
		char text[256];

		test_client_open_as(&client, cases[i].host, cases[i].server->port, &access,
		                    (struct redis_conn_config){ .timeout_us = 20 * SECOND, .backoff_max_us = 1000 });
		if (cases[i].why == NULL) {
			test_client_run_up(&client);
			assert_int_equal(TEST_ASK(&client, text, "PING"), REDIS_REPLY_STATUS);
		} else {
			test_client_run_down(&client, 0);
			/* An alert may be lost with a connection that is reset behind it. */
			bool reset = cases[i].error == -EPROTO && client.error == -ECONNRESET;

			if ((client.error != cases[i].error && !reset) || strstr(client.why, cases[i].why) == NULL)
				fail_msg("case %zu: %d, %s", i, client.error, client.why);
			assert_int_equal(client.ups, 0);
		}
		test_client_close(&client);
		redis_tls_free(access.tls);
	}
}

static void wrong_files(void **state)
{
	static const struct {
		const char *ca, *cert, *key;
		const char *why;
	} cases[] = {
		{ "none.crt", NULL, NULL, "none.crt: no certificates (PEM) can be read from it: " },
		{ "nonsense.pem", NULL, NULL, "nonsense.pem: no certificates (PEM) can be read from it: " },
		{ "ca.crt", "none.crt", "client.key", "none.crt: no certificate (PEM) can be read from it: " },
		{ "ca.crt", "nonsense.pem", "client.key", "nonsense.pem: no certificate (PEM) can be read from it: " },
		{ "ca.crt", "client.crt", "none.key", "none.key: no key (PEM, without a passphrase)" },
		{ "ca.crt", "client.crt", "server.key", "server.key: no key (PEM, without a passphrase)" },
		{ "ca.crt", "client.crt", "locked.key", "locked.key: no key (PEM, without a passphrase)" },
		{ "ca.crt", "client.crt", NULL, "a certificate goes with a key" },
		{ "ca.crt", NULL, "client.key", "a certificate goes with a key" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char paths[3][128], why[512] = "";

		assert_null(redis_tls_new(in_folder(paths[0], cases[i].ca),
		                          cases[i].cert != NULL ? in_folder(paths[1], cases[i].cert) : NULL,
		                          cases[i].key != NULL ? in_folder(paths[2], cases[i].key) : NULL, why,
		                          sizeof why));
		if (strstr(why, cases[i].why) == NULL)
			fail_msg("%s", why);
	}
}

/* A turn is one write here too, and more than a record holds goes both ways. */
static void traffic(void **state)
{
	enum { N = 2000 };
	static struct test_echo echoes[N];
	struct redis_access access = { .name = "tls", .tls = context("ca.crt", NULL, NULL) };
	struct test_client client;
	uint64_t writes;

	test_client_open(&client, "localhost", redis.port, &access);
	test_client_run_up(&client);
	writes = client.stats.writes;
	for (unsigned i = 0; i < N; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, 20 * SECOND));
	test_client_run_ended(&client);
	assert_int_equal(client.stats.writes, writes + 1);
	test_echoes_check(echoes, N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(echoes[i].error, 0);
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
	redis_tls_free(access.tls);
}

struct large {
	struct redis_command command;
	struct test_client *client;
	const char *bytes;
	size_t len;
	bool same;
};

static void on_large(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct large *large = (struct large *)command;

	large->client->ended++;
	if (error != 0)
		fail_msg("%d", error);
	large->same = reply->len == large->len && memcmp(reply->str, large->bytes, large->len) == 0;
}

/* More than the kernel takes at once. */
static void large_value(void **state)
{
	enum { LEN = 8 << 20 };
	struct redis_access access = { .tls = context("ca.crt", NULL, NULL) };
	char *bytes = malloc(LEN);
	struct test_client client;
	struct large large = { .client = &client, .bytes = bytes, .len = LEN };
	struct redis_buffer *out;

	assert_non_null(bytes);
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	test_client_open(&client, "127.0.0.1", redis.port, &access);
	test_client_run_up(&client);
	out = redis_conn_begin(client.conn);
	assert_non_null(out);
	redis_command_begin(out, 2);
	redis_command_text(out, "ECHO");
	redis_command_word(out, bytes, LEN);
	large.command.deadline_us = clock_mono_us() + 20 * SECOND;
	large.command.ended = on_large;
	assert_int_equal(redis_conn_send(client.conn, &large.command), 0);
	client.sent++;
	test_client_run_ended(&client);
	assert_true(large.same);
	test_client_close(&client);
	redis_tls_free(access.tls);
	free(bytes);
}

static void comes_back(void **state)
{
	struct redis_access access = { .tls = context("ca.crt", "client.crt", "client.key") };
	struct test_echo echo;
	struct test_client client;

	test_client_open(&client, "localhost", strict.port, &access);
	test_client_run_up(&client);
	test_redis_signal(&strict, SIGSTOP);
	assert_true(test_client_echo(&client, &echo, 1, 20 * SECOND));
	test_redis_signal(&strict, SIGKILL);
	test_client_run_ended(&client);
	assert_int_equal(echo.error, -ECONNRESET);
	test_redis_again(&strict);
	test_client_run_up(&client);
	assert_true(test_client_echo(&client, &echo, 2, 20 * SECOND));
	test_client_close(&client); /* in flight */
	assert_int_equal(echo.error, -ECANCELED);
	redis_tls_free(access.tls);
}

/* Without TLS at one end only. */
static void half_a_protocol(void **state)
{
	struct redis_access plain = { .name = "plain" }, tls = { .tls = context("ca.crt", NULL, NULL) };
	struct test_redis clear = { 0 };
	struct test_client client;

	test_client_open(&client, "127.0.0.1", redis.port, &plain);
	test_client_run_down(&client, 0);
	assert_true(client.error == -EPROTO || client.error == -ECONNRESET);
	test_client_close(&client);

	test_redis_start(&clear, false, NULL);
	test_client_open_as(&client, "127.0.0.1", clear.port, &tls,
	                    (struct redis_conn_config){ .timeout_us = 100000, .backoff_max_us = 1000 });
	test_client_run_down(&client, 0);
	if (strstr(client.why, "it may speak no TLS on this port") == NULL)
		fail_msg("%s", client.why);
	test_client_close(&client);
	test_redis_stop(&clear);
	redis_tls_free(tls.tls);
}

/* A server of the test in the midst of a handshake. */
static void half_a_handshake(struct test_peer *peer, int fd, unsigned nth)
{
	static const char *const answers[] = {
		"",
		"\x16\x03\x03",
		"\x16\x03\x03\x00\x7a\x02\x00\x00\x76",
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"\x15\x03\x03",
		"-ERR what\r\n",
	};
	static const size_t lens[] = { 0, 3, 9, 28, 3, 11 };
	unsigned which = nth % 6;
	bool hang = nth / 6 % 2 == 1;
	char bytes[4096];

	if (recv(fd, bytes, sizeof bytes, 0) > 0)
		test_peer_write(fd, answers[which], lens[which]);
	if (!hang)
		shutdown(fd, SHUT_WR);
	while (recv(fd, bytes, sizeof bytes, 0) > 0)
		;
}

static void broken_handshakes(void **state)
{
	struct redis_access access = { .tls = context("ca.crt", NULL, NULL) };
	struct test_client client;
	struct test_peer peer;

	test_peer_start(&peer, half_a_handshake, NULL);
	test_client_open_as(&client, "localhost", peer.port, &access,
	                    (struct redis_conn_config){ .timeout_us = 50000, .backoff_max_us = 1000 });
	for (unsigned i = 0; i < 24; i++) {
		test_client_run_down(&client, i);
		assert_true(client.error == -EPROTO || client.error == -ECONNRESET || client.error == -ETIMEDOUT);
	}
	assert_int_equal(client.ups, 0);
	test_client_close(&client);
	test_peer_stop(&peer);
	redis_tls_free(access.tls);
}

static void on_tick(uv_timer_t *tick)
{
	(void)tick;
}

static void freed_at_any_time(void **state)
{
	struct redis_access access = { .tls = context("ca.crt", NULL, NULL) };

	for (unsigned i = 0; i < 20; i++) {
		struct test_client client;

		test_client_open(&client, "127.0.0.1", redis.port, &access);
		uv_timer_start(&client.guard, on_tick, 1, 1);
		for (unsigned n = 0; n < i; n++)
			uv_run(&client.loop, UV_RUN_ONCE);
		test_client_close(&client);
	}
	redis_tls_free(access.tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_trusts_whom),   cmocka_unit_test(wrong_files),
		cmocka_unit_test(traffic),           cmocka_unit_test(large_value),
		cmocka_unit_test(comes_back),        cmocka_unit_test(half_a_protocol),
		cmocka_unit_test(broken_handshakes), cmocka_unit_test(freed_at_any_time),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
