// A careful client of sqlite3 that checks every result, reports each error and prints only after success.
// expect: handled,tolerated
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -lsqlite3
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *db;

static void die(const char *doing)
{
    const char *why = db ? sqlite3_errmsg(db) : "no database";
    fprintf(stderr, "%s: %s\n", doing, why ? why : "unknown error");
    sqlite3_close_v2(db);
    exit(1);
}

static void run(const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sql);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK || !statement)
        die(sql);
    return statement;
}

// twice(X): the text X two times over.
static void twice(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL) {
        sqlite3_result_null(context);
        return;
    }
    const char *text = (const char *)sqlite3_value_text(values[0]);
    if (!text) {
        sqlite3_result_error_nomem(context);
        return;
    }
    char *both = sqlite3_mprintf("%s%s", text, text);
    if (!both) {
        sqlite3_result_error_nomem(context);
        return;
    }
    sqlite3_result_text(context, both, -1, sqlite3_free);
}

int main(void)
{
    static char report[4096]; // printed in one piece, and only when everything went well
    size_t used = 0;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        die("open");
    if (sqlite3_create_function(db, "twice", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, twice, NULL, NULL) != SQLITE_OK)
        die("function");
    run("create table word(id integer primary key, text text not null, weight real)");
    run("create index by_weight on word(weight)");

    run("begin");
    sqlite3_stmt *insert = prepare("insert into word(text, weight) values(?1, ?2)");
    for (int i = 0; i < 20; i++) {
        char text[20];
        snprintf(text, sizeof text, "word-%02d", (i * 7) % 20);
        if (sqlite3_bind_text(insert, 1, text, -1, SQLITE_TRANSIENT) != SQLITE_OK
            || sqlite3_bind_double(insert, 2, (i * 13) % 20 / 2.0) != SQLITE_OK)
            die("bind");
        if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK)
            die("insert");
    }
    if (sqlite3_finalize(insert) != SQLITE_OK)
        die("finalize");
    run("commit");

    sqlite3_stmt *select = prepare("select twice(text), weight from word where weight > ?1 order by text desc");
    if (sqlite3_bind_double(select, 1, 2.0) != SQLITE_OK)
        die("bind");
    int result;
    while ((result = sqlite3_step(select)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(select, 0);
        if (!text)
            die("column");
        int length = snprintf(report + used, sizeof report - used, "%s %.1f\n", text, sqlite3_column_double(select, 1));
        if (length < 0 || (size_t)length >= sizeof report - used)
            die("report");
        used += (size_t)length;
    }
    if (result != SQLITE_DONE)
        die("select");
    if (sqlite3_finalize(select) != SQLITE_OK)
        die("finalize");
    if (sqlite3_close(db) != SQLITE_OK)
        die("close");
    if (fwrite(report, 1, used, stdout) != used || fflush(stdout) || ferror(stdout)) {
        fputs("standard output: write error\n", stderr);
        return 1;
    }
    return 0;
}
