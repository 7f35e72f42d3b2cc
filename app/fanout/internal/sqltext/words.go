package sqltext

var (
	readVerbs  = set("SELECT SHOW EXPLAIN DESCRIBE DESC VALUES TABLE HELP")
	writeVerbs = set("INSERT REPLACE UPDATE DELETE CALL DO")
	ddlVerbs   = set("CREATE ALTER DROP RENAME TRUNCATE OPTIMIZE GRANT REVOKE")

	refusedVerbs = map[string]string{
		"BEGIN":      "a transaction begun by text is not seen by database/sql; use BeginTx",
		"START":      "a transaction begun by text is not seen by database/sql; use BeginTx",
		"COMMIT":     "use the Commit of sql.Tx",
		"ROLLBACK":   "use the Rollback of sql.Tx; to undo a part, run it in a transaction of its own",
		"SAVEPOINT":  "savepoints are not passed on; run the part in a transaction of its own",
		"RELEASE":    "savepoints are not passed on; run the part in a transaction of its own",
		"XA":         "two-phase commit is the pool's; choose the write mode instead",
		"USE":        "the database is the one of the DSN; write database.table, or open another pool",
		"LOCK":       "LOCK TABLES is not passed on; use a transaction with SELECT ... FOR UPDATE",
		"UNLOCK":     "LOCK TABLES is not passed on; use a transaction with SELECT ... FOR UPDATE",
		"LOAD":       "LOAD DATA reads its file once; use multi-row INSERT",
		"HANDLER":    "HANDLER is not passed on; use SELECT",
		"PREPARE":    "statements prepared by text are not passed on; use Prepare",
		"EXECUTE":    "statements prepared by text are not passed on; use Prepare",
		"DEALLOCATE": "statements prepared by text are not passed on; use Prepare",
		"KILL":       "thread ids differ between servers; use Replica(name)",
		"FLUSH":      "administration is done on each server; use Replica(name)",
		"RESET":      "administration is done on each server; use Replica(name)",
		"PURGE":      "administration is done on each server; use Replica(name)",
		"SHUTDOWN":   "administration is done on each server; use Replica(name)",
		"CHANGE":     "administration is done on each server; use Replica(name)",
		"INSTALL":    "administration is done on each server; use Replica(name)",
		"UNINSTALL":  "administration is done on each server; use Replica(name)",
		"CHECK":      "administration is done on each server; use Replica(name)",
		"CHECKSUM":   "administration is done on each server; use Replica(name)",
		"REPAIR":     "administration is done on each server; use Replica(name)",
	}

	// unsafeFuncs give another value on every server; the text says what to do instead.
	unsafeFuncs = map[string]string{
		"RAND":              "draw the number in the app and pass it",
		"UUID":              "make the UUID in the app and pass it",
		"UUID_SHORT":        "make the id in the app and pass it",
		"UUID_V4":           "make the UUID in the app and pass it",
		"UUID_V7":           "make the UUID in the app and pass it",
		"SYS_GUID":          "make the id in the app and pass it",
		"RANDOM_BYTES":      "draw the bytes in the app and pass them",
		"SYSDATE":           "use NOW(), which is pinned, or pass the time",
		"CONNECTION_ID":     "pass an id of the app's own",
		"GET_LOCK":          "take the lock with a SELECT of its own first",
		"RELEASE_LOCK":      "release the lock with a SELECT of its own",
		"RELEASE_ALL_LOCKS": "release the locks with a SELECT of their own",
		"IS_FREE_LOCK":      "ask with a SELECT of its own first",
		"IS_USED_LOCK":      "ask with a SELECT of its own first",
		"FOUND_ROWS":        "count in the app and pass the number",
		"ROW_COUNT":         "use the Result's RowsAffected and pass the number",
		"LOAD_FILE":         "read the file in the app and pass its content",
		"USER":              "pass the name",
		"CURRENT_USER":      "pass the name",
		"SESSION_USER":      "pass the name",
		"SYSTEM_USER":       "pass the name",
		"VERSION":           "pass the text",
		"MASTER_POS_WAIT":   "wait with a SELECT of its own",
		"SLEEP":             "sleep in the app",
	}

	sequenceFuncs = set("NEXTVAL LASTVAL SETVAL")

	// firstFuncs read or change the session or its locks: their place is the first replica.
	firstFuncs = set("LAST_INSERT_ID GET_LOCK RELEASE_LOCK RELEASE_ALL_LOCKS IS_FREE_LOCK IS_USED_LOCK ROW_COUNT FOUND_ROWS CONNECTION_ID")

	timeWords = set("NOW CURRENT_TIMESTAMP CURDATE CURRENT_DATE CURTIME CURRENT_TIME LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME " +
		"UTC_TIMESTAMP UNIX_TIMESTAMP")

	// ownedVars are session variables that the pool sets itself.
	ownedVars = set("AUTOCOMMIT TIMESTAMP INSERT_ID LAST_INSERT_ID IDENTITY SQL_LOG_BIN TRANSACTION_ISOLATION TX_ISOLATION " +
		"TRANSACTION_READ_ONLY TX_READ_ONLY INNODB_LOCK_WAIT_TIMEOUT FOREIGN_KEY_CHECKS AUTO_INCREMENT_INCREMENT " +
		"AUTO_INCREMENT_OFFSET RAND_SEED1 RAND_SEED2 SQL_MODE PSEUDO_THREAD_ID")

	// readFuncs are the words that may stand before '(' in a query without changing anything: keywords and the servers'
	// own functions. Any other name may be a stored function, so the query counts as a write.
	readFuncs = set(`IN AND OR NOT XOR ANY ALL SOME EXISTS FROM JOIN WHERE ON USING AS SELECT VALUES VALUE ROW OVER BY HAVING UNION DISTINCT
		CASE WHEN THEN ELSE IF LIKE BETWEEN REGEXP RLIKE DIV MOD IS INTERVAL WITH LIMIT OFFSET PARTITION INDEX KEY EXCEPT INTERSECT
		WINDOW AGAINST MATCH LATERAL RECURSIVE OF SOUNDS ESCAPE COLLATE BINARY OJ USE FORCE IGNORE ORDER SEPARATOR TABLE
		CHAR VARCHAR DECIMAL NUMERIC NCHAR VARBINARY DATETIME TIME DOUBLE FLOAT DATE TIMESTAMP SIGNED UNSIGNED YEAR INT INTEGER
		ABS ACOS ADDDATE ADDTIME AES_DECRYPT AES_ENCRYPT ANY_VALUE ASCII ASIN ATAN ATAN2 AVG BENCHMARK BIN BIN_TO_UUID BIT_AND
		BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHARSET CHR COALESCE COERCIBILITY
		COLLATION COLUMN_GET COLUMN_JSON COMPRESS CONCAT CONCAT_WS CONV CONVERT CONVERT_TZ COS COT COUNT CRC32 CRC32C CUME_DIST
		CURDATE CURRENT_DATE CURRENT_ROLE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE_ADD DATE_FORMAT
		DATE_SUB DATEDIFF DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DECODE DEFAULT DEGREES DENSE_RANK ELT ENCODE ENCRYPT EXP
		EXPORT_SET EXTRACT EXTRACTVALUE FIELD FIND_IN_SET FIRST_VALUE FLOOR FORMAT FORMAT_BYTES FORMAT_PICO_TIME FROM_BASE64
		FROM_DAYS FROM_UNIXTIME GREATEST GROUP_CONCAT GROUPING HEX HOUR IFNULL INET_ATON INET_NTOA INET6_ATON INET6_NTOA INSERT
		INSTR ISNULL IS_IPV4 IS_IPV6 IS_UUID JSON_ARRAY JSON_ARRAYAGG JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_COMPACT
		JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_DETAILED JSON_EQUALS JSON_EXISTS JSON_EXTRACT JSON_INSERT JSON_KEYS
		JSON_LENGTH JSON_LOOSE JSON_MERGE JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_NORMALIZE JSON_OBJECT JSON_OBJECTAGG
		JSON_OVERLAPS JSON_PRETTY JSON_QUERY JSON_QUOTE JSON_REMOVE JSON_REPLACE JSON_SCHEMA_VALID JSON_SEARCH JSON_SET
		JSON_STORAGE_SIZE JSON_TABLE JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAG LAST_DAY LAST_VALUE LCASE LEAD LEAST LEFT
		LENGTH LN LOAD_FILE LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKE_SET MAKEDATE MAKETIME MAX MD5
		MEDIAN MEMBER MICROSECOND MID MIN MINUTE MONTH MONTHNAME NAME_CONST NATURAL_SORT_KEY NOW NTH_VALUE NTILE NULLIF OCT
		OCTET_LENGTH ORD PASSWORD PERCENT_RANK PERCENTILE_CONT PERCENTILE_DISC PERIOD_ADD PERIOD_DIFF PI POSITION POW POWER
		QUARTER QUOTE RADIANS RAND RANDOM_BYTES RANK REGEXP_INSTR REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REVERSE
		RIGHT ROUND ROW_NUMBER RPAD RTRIM SCHEMA SEC_TO_TIME SECOND SESSION_USER SFORMAT SHA SHA1 SHA2 SIGN SIN SLEEP SOUNDEX
		SPACE SQRT STD STDDEV STDDEV_POP STDDEV_SAMP STR_TO_DATE STRCMP SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX SUBTIME SUM
		SYSDATE SYSTEM_USER TAN TIME_FORMAT TIME_TO_SEC TIMEDIFF TIMESTAMPADD TIMESTAMPDIFF TO_BASE64 TO_CHAR TO_DAYS TO_SECONDS
		TRIM TRUNCATE UCASE UNCOMPRESS UNCOMPRESSED_LENGTH UNHEX UNIX_TIMESTAMP UPDATEXML UPPER USER UTC_DATE UTC_TIME
		UTC_TIMESTAMP UUID UUID_SHORT UUID_TO_BIN VAR_POP VAR_SAMP VARIANCE VERSION WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEARWEEK
		ST_ASTEXT ST_GEOMFROMTEXT ST_DISTANCE ST_CONTAINS ST_WITHIN ST_X ST_Y ST_DISTANCE_SPHERE POINT`)
)
