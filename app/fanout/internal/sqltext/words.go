package sqltext

var (
	readVerbs  = set("SELECT SHOW EXPLAIN DESCRIBE DESC VALUES TABLE HELP")
	writeVerbs = set("INSERT REPLACE UPDATE DELETE")
	ddlVerbs   = set("CREATE ALTER DROP RENAME TRUNCATE OPTIMIZE GRANT REVOKE")

	refusedVerbs = eachWord(map[string]string{
		"a transaction begun by text is not seen by database/sql; use BeginTx": "BEGIN START",
		"use the Commit of sql.Tx": "COMMIT",
		"use the Rollback of sql.Tx; to undo a part, run it in a transaction of its own":                                                   "ROLLBACK",
		"savepoints are not passed on; run the part in a transaction of its own":                                                           "SAVEPOINT RELEASE",
		"two-phase commit is the pool's; choose the write mode instead":                                                                    "XA",
		"the database is the one of the DSN; write database.table, or open another pool":                                                   "USE",
		"LOAD DATA reads its file once; use multi-row INSERT":                                                                              "LOAD",
		"HANDLER is not passed on; use SELECT":                                                                                             "HANDLER",
		"statements prepared by text are not passed on; use Prepare":                                                                       "PREPARE EXECUTE DEALLOCATE",
		"diagnostics describe the previous statement on the connection, which may be one of the pool's; use the driver's error and Result": "GET",
		"it belongs into a stored program; return the error in the app":                                                                    "SIGNAL RESIGNAL",
		"files are on one server; use multi-row INSERT":                                                                                    "IMPORT",
		"thread ids differ between servers; use Replica(name)":                                                                             "KILL",
		"administration is done on each server; use Replica(name)":                                                                         "FLUSH RESET PURGE SHUTDOWN CHANGE INSTALL UNINSTALL CHECK CHECKSUM REPAIR",
	})

	// ownedVars are session variables that the pool sets itself.
	ownedVars = set("AUTOCOMMIT TIMESTAMP INSERT_ID LAST_INSERT_ID IDENTITY SQL_LOG_BIN TRANSACTION_ISOLATION TX_ISOLATION " +
		"TRANSACTION_READ_ONLY TX_READ_ONLY INNODB_LOCK_WAIT_TIMEOUT FOREIGN_KEY_CHECKS UNIQUE_CHECKS AUTO_INCREMENT_INCREMENT " +
		"AUTO_INCREMENT_OFFSET RAND_SEED1 RAND_SEED2 SQL_MODE PSEUDO_THREAD_ID SQL_AUTO_IS_NULL INNODB_SNAPSHOT_ISOLATION")

	// timeWords read the clock, with or without parentheses.
	timeWords = set("NOW CURRENT_TIMESTAMP CURDATE CURRENT_DATE CURTIME CURRENT_TIME LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME " +
		"UTC_TIMESTAMP UNIX_TIMESTAMP")

	// firstFuncs belong to a session or its locks: their place is the first replica.
	firstFuncs = set("LAST_INSERT_ID GET_LOCK RELEASE_LOCK RELEASE_ALL_LOCKS IS_FREE_LOCK IS_USED_LOCK CONNECTION_ID")

	// lastFuncs depend on the statement before.
	lastFuncs = set("FOUND_ROWS ROW_COUNT")

	sequenceFuncs = set("NEXTVAL LASTVAL SETVAL")

	// unsafeFuncs give another value on every server, or at every call; the text suggests what to write instead.
	unsafeFuncs = eachWord(map[string]string{
		"draw the number in the app and pass it":            "RAND",
		"make the UUID in the app and pass it":              "UUID UUID_V4 UUID_V7",
		"make the id in the app and pass it":                "UUID_SHORT SYS_GUID",
		"draw the bytes in the app and pass them":           "RANDOM_BYTES",
		"hash in the app and pass the hash":                 "ENCRYPT",
		"use NOW(), which is pinned, or pass the time":      "SYSDATE",
		"pass an id of the app's own":                       "CONNECTION_ID",
		"take the lock with a SELECT of its own first":      "GET_LOCK",
		"release the lock with a SELECT of its own":         "RELEASE_LOCK",
		"release the locks with a SELECT of their own":      "RELEASE_ALL_LOCKS",
		"read it with a separate SELECT first":              "IS_FREE_LOCK IS_USED_LOCK",
		"count in the app and pass the number":              "FOUND_ROWS",
		"use the Result's RowsAffected and pass the number": "ROW_COUNT",
		"read the file in the app and pass its content":     "LOAD_FILE",
		"pass the name":                 "USER CURRENT_USER SESSION_USER SYSTEM_USER CURRENT_ROLE DATABASE SCHEMA",
		"pass the text":                 "VERSION",
		"wait with a SELECT of its own": "MASTER_POS_WAIT SOURCE_POS_WAIT MASTER_GTID_WAIT",
		"sleep in the app":              "SLEEP",
		"leave it out":                  "BENCHMARK",
		"make the id in the app or use AUTO_INCREMENT, since sequences differ between replicas":           "NEXTVAL LASTVAL SETVAL",
		"use LIMIT with an ORDER BY on a unique key":                                                      "ROWNUM",
		"find the ids with a SELECT first and pass them, since full-text indexes differ between replicas": "MATCH",
	})

	// bareUnsafe are those of unsafeFuncs that need no parentheses.
	bareUnsafe = set("CURRENT_USER CURRENT_ROLE")

	// orderFuncs give what depends on the order in which rows are read.
	orderFuncs = set("GROUP_CONCAT JSON_ARRAYAGG JSON_OBJECTAGG ANY_VALUE ROW_NUMBER RANK DENSE_RANK LAG LEAD NTILE FIRST_VALUE LAST_VALUE " +
		"NTH_VALUE CUME_DIST PERCENT_RANK PERCENTILE_CONT PERCENTILE_DISC MEDIAN")

	// sumFuncs add up; of floating-point numbers the order counts.
	sumFuncs = set("SUM AVG STD STDDEV STDDEV_POP STDDEV_SAMP VAR_POP VAR_SAMP VARIANCE")

	// beforeParens are the keywords that may stand before '('.
	beforeParens = set(`IN AND OR NOT XOR ANY ALL SOME EXISTS FROM JOIN WHERE ON USING AS SELECT VALUES VALUE ROW OVER BY HAVING UNION DISTINCT
		CASE WHEN THEN ELSE IF LIKE BETWEEN REGEXP RLIKE DIV MOD IS INTERVAL WITH LIMIT OFFSET PARTITION INDEX KEY EXCEPT INTERSECT
		WINDOW AGAINST LATERAL RECURSIVE OF SOUNDS ESCAPE COLLATE BINARY OJ USE FORCE IGNORE ORDER SEPARATOR TABLE SET
		CHAR VARCHAR DECIMAL NUMERIC NCHAR VARBINARY DATETIME TIME DOUBLE FLOAT DATE TIMESTAMP SIGNED UNSIGNED YEAR INT INTEGER`)

	// pureFuncs give the same for the same on every server whose settings are equal, and change nothing.
	pureFuncs = set(`ABS ACOS ADDDATE ADDTIME AES_DECRYPT AES_ENCRYPT ASCII ASIN ATAN ATAN2 AVG BIN BIN_TO_UUID BIT_AND
		BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHARSET CHR COALESCE COERCIBILITY
		COLLATION COLUMN_ADD COLUMN_CHECK COLUMN_CREATE COLUMN_DELETE COLUMN_EXISTS COLUMN_GET COLUMN_JSON COLUMN_LIST COMPRESS CONCAT CONCAT_WS CONV CONVERT
		CONVERT_TZ COS COT COUNT CRC32 CRC32C DATE_ADD DATE_FORMAT DATE_SUB DATEDIFF DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DECODE
		DECODE_ORACLE DEFAULT DEGREES ELT ENCODE EXP EXPORT_SET EXTRACT EXTRACTVALUE FIELD FIND_IN_SET FLOOR FORMAT FORMAT_BYTES FORMAT_PICO_TIME FROM_BASE64
		FROM_DAYS FROM_UNIXTIME GREATEST GROUPING HEX HOUR IFNULL INET_ATON INET_NTOA INET6_ATON INET6_NTOA INSERT
		INSTR ISNULL IS_IPV4 IS_IPV6 IS_IPV4_COMPAT IS_IPV4_MAPPED IS_UUID JSON_ARRAY JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_COMPACT
		JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_DETAILED JSON_EQUALS JSON_EXISTS JSON_EXTRACT JSON_INSERT JSON_KEYS
		JSON_LENGTH JSON_LOOSE JSON_MERGE JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_NORMALIZE JSON_OBJECT
		JSON_OVERLAPS JSON_PRETTY JSON_QUERY JSON_QUOTE JSON_REMOVE JSON_REPLACE JSON_SCHEMA_VALID JSON_SEARCH JSON_SET
		JSON_STORAGE_SIZE JSON_TABLE JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAST_DAY LAST_INSERT_ID LCASE LEAST LEFT
		LENGTH LENGTHB LN LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKE_SET MAKEDATE MAKETIME MAX MD5
		MEMBER MICROSECOND MID MIN MINUTE MONTH MONTHNAME NAME_CONST NATURAL_SORT_KEY NULLIF NVL NVL2 OCT
		OCTET_LENGTH OLD_PASSWORD ORD PASSWORD PERIOD_ADD PERIOD_DIFF PI POSITION POW POWER
		QUARTER QUOTE RADIANS REGEXP_INSTR REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REVERSE
		RIGHT ROUND RPAD RTRIM SEC_TO_TIME SECOND SFORMAT SHA SHA1 SHA2 SIGN SIN SOUNDEX
		SPACE SQRT STD STDDEV STDDEV_POP STDDEV_SAMP STR_TO_DATE STRCMP SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX SUBTIME SUM
		TAN TIME_FORMAT TIME_TO_SEC TIMEDIFF TIMESTAMPADD TIMESTAMPDIFF TO_BASE64 TO_CHAR TO_DAYS TO_SECONDS TO_VECTOR VECTOR_DIM VECTOR_TO_STRING
		TRIM TRUNCATE UCASE UNCOMPRESS UNCOMPRESSED_LENGTH UNHEX UPDATEXML UPPER UUID_TO_BIN VAR_POP VAR_SAMP VARIANCE VEC_FROMTEXT VEC_TOTEXT
		WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEARWEEK
		ST_ASTEXT ST_ASBINARY ST_ASWKB ST_ASWKT ST_ASGEOJSON ST_GEOMFROMTEXT ST_GEOMFROMWKB ST_GEOMFROMGEOJSON ST_POINTFROMTEXT ST_POLYFROMTEXT
		ST_POLYGONFROMTEXT ST_GEOMETRYFROMTEXT ST_LINEFROMTEXT ST_LINESTRINGFROMTEXT
		ST_DISTANCE ST_CONTAINS ST_WITHIN ST_INTERSECTS ST_X ST_Y ST_LATITUDE ST_LONGITUDE ST_SRID ST_DISTANCE_SPHERE ST_BUFFER ST_AREA ST_LENGTH POINT LINESTRING POLYGON`)
)

// steady reports whether a name may stand before '(' in a write or in a query without a thought.
func steady(name string) bool { return beforeParens[name] || pureFuncs[name] || timeWords[name] }

// eachWord maps each word of a list to the list's text.
func eachWord(said map[string]string) map[string]string {
	by := map[string]string{}
	for text, words := range said {
		for w := range set(words) {
			by[w] = text
		}
	}
	return by
}
