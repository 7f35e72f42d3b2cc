package dataset

// What the data is made of. A change here changes every dataset: bump Version.
var (
	givenNames = []string{
		"aoi", "daiki", "emi", "fumiko", "goro", "hana", "haruto", "jun", "kaito", "kenta", "mai", "mio", "nana", "naoko",
		"ren", "riku", "sakura", "shota", "sora", "taro", "yui", "yuki", "alice", "bob", "carol", "dave", "erin", "frank",
	}
	teamAdjectives = []string{
		"Swift ", "Sleepy ", "Quiet ", "Lucky ", "Cold ", "Brave ", "Tiny ", "Late-night ", "Unindexed ", "Cached ",
		"最速の", "眠れる", "静かな", "幸運な", "冷静な", "勇敢な", "小さな", "深夜の", "索引なき", "百万倍の",
	}
	teamNouns = []string{
		"Otters", "Gophers", "Penguins", "Deadlocks", "Mutexes", "Pointers", "Buffers", "Sockets", "Kernels", "Queries",
		"カワウソ", "ゴーファー", "ペンギン", "デッドロック", "ミューテックス", "ポインタ", "バッファ", "ソケット", "カーネル", "クエリ",
	}
	// Some tags need quoting in JSON, and some differ from another only in case or are part of it.
	teamTags = []string{
		"student", "professional", "first-time", "remote", "onsite", "go", "Go", "rust", "ruby", "python", "node", "perl",
		"php", "c++", "solo", "学生", "社会人", "初参加", "リモート", "現地", "一人", "優勝経験あり", "\"quoted\"", `back\slash`,
		"100%", "a_b", "🍣", "🍣🍺",
	}
	memos = []string{
		"", "", "", "baseline", "index on results", "more connections", "nginx keepalive", "swap web and api", "索引を追加",
		"バッファプールを増やした", "キャッシュを1秒に", "再起動試験", "ログを止めた", "query cache on", "revert the last change",
	}
	passReasons = []string{"passed", "passed", "passed", "合格"}
	failReasons = []string{
		"initialize timed out", "leaderboard is older than one second", "503 on /api/dashboard", "整合性チェックに失敗しました",
		"初期化がタイムアウトしました", "too many errors",
	}
	questions = []struct{ question, answer string }{
		{"May we restart the servers during the contest?", "Yes. They are restarted once more before the final round."},
		{"Is it allowed to add an index?", "Yes, as long as the answers stay the same."},
		{"The leaderboard seems to lag behind. Is that intended?", "It may be at most one second old."},
		{"Can we use a fourth server?", "No. Only the hosts that you were given."},
		{"Our job has been waiting for minutes.", "The workers were busy; it has run by now."},
		{"Does the audience's traffic count towards the score?", "Yes, every right answer counts."},
		{"サーバーを再起動してもよいですか?", "はい。最後の計測の前にもう一度再起動されます。"},
		{"索引を追加してもよいですか?", "はい。応答が変わらなければ構いません。"},
		{"順位表が遅れて見えます。仕様でしょうか?", "最大で1秒までの遅れは許されます。"},
		{"四台目のサーバーを使えますか?", "いいえ。渡されたホストだけです。"},
		{"ジョブが何分も待ち状態のままです。", "ワーカーが混んでいました。今は終わっています。"},
		{"ボットへの応答は503でもよいですか?", "はい。ボットに限り減点されません。"},
		{"「凍結」中もジョブを登録できますか?\n順位表には載りますか?", "登録できます。順位表には凍結時点までの結果だけが載ります。"},
	}
)
