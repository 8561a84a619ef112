package samples

// region is where a group of made-up people lives: names in the local script, with the letters of their addresses.
type region struct {
	first, last []spelled
	cities      []string
	domains     []string
	// familyFirst puts the last name in front, as some languages do; joint leaves no space between the names.
	familyFirst, joint bool
}

// spelled is a name and how it is written in the local part of an address.
type spelled struct{ name, ascii string }

var plans = []string{"free", "básico", "pro", "famille", "プロ"}

// All domains are reserved for documentation and tests (RFC 2606, RFC 6761).
var regions = []region{
	{
		first: []spelled{
			{"María José", "mariajose"},
			{"Íñigo", "inigo"},
			{"Begoña", "begona"},
			{"Ángel", "angel"},
			{"Lucía", "lucia"},
			{"Nuria", "nuria"},
			{"Óscar", "oscar"},
			{"Sofía", "sofia"},
			{"Raúl", "raul"},
			{"Inés", "ines"},
			{"Jesús", "jesus"},
		},
		last: []spelled{
			{"Núñez", "nunez"},
			{"Ibáñez", "ibanez"},
			{"Peña", "pena"},
			{"García-Lorca", "garcia-lorca"},
			{"Güell", "guell"},
			{"Muñoz", "munoz"},
			{"Sáenz de Buruaga", "saenz"},
		},
		cities:  []string{"Cádiz", "A Coruña", "Logroño", "Málaga", "Sant Feliu de Guíxols", "Bogotá", "Asunción"},
		domains: []string{"example.com", "correo.example", "españa.example", "mail.example.org"},
	},
	{
		first: []spelled{
			{"Zoë", "zoe"},
			{"Jürgen", "juergen"},
			{"François", "francois"},
			{"Åsa", "asa"},
			{"Łukasz", "lukasz"},
			{"Dvořák", "dvorak"},
			{"Siobhán", "siobhan"},
			{"Ağaoğlu", "agaoglu"},
			{"Nguyễn", "nguyen"},
			{"Ólafur", "olafur"},
			{"Željka", "zeljka"},
		},
		last: []spelled{
			{"Müller", "mueller"},
			{"O'Connor", "o'connor"},
			{"Straße", "strasse"},
			{"Hénaff", "henaff"},
			{"Żółć", "zolc"},
			{"Škvorecký", "skvorecky"},
			{"Þórsson", "thorsson"},
		},
		cities:  []string{"München", "Genève", "Kraków", "Ålesund", "İzmir", "Đà Nẵng", "Reykjavík"},
		domains: []string{"münchen.example", "example.net", "café.example", "post.test", "example.org"},
	},
	{
		first:  []spelled{{"Иван", "ivan"}, {"Ольга", "olga"}, {"Дмитрий", "dmitry"}, {"Ганна", "hanna"}, {"Ђорђе", "djordje"}},
		last:   []spelled{{"Петров", "petrov"}, {"Шевченко", "shevchenko"}, {"Щукина", "shchukina"}, {"Јовановић", "jovanovic"}},
		cities: []string{"Київ", "София", "Београд", "Алматы"}, domains: []string{"почта.example", "example.test"},
	},
	{
		first:  []spelled{{"Ελένη", "eleni"}, {"Γιώργος", "giorgos"}, {"Χρυσάνθη", "chrysanthi"}},
		last:   []spelled{{"Παπαδοπούλου", "papadopoulou"}, {"Οικονόμου", "oikonomou"}},
		cities: []string{"Αθήνα", "Θεσσαλονίκη"}, domains: []string{"ταχυδρομείο.example", "example.com"},
	},
	{
		first:  []spelled{{"ليلى", "layla"}, {"محمد", "mohammed"}, {"نور", "nour"}},
		last:   []spelled{{"الخطيب", "alkhatib"}, {"حدّاد", "haddad"}},
		cities: []string{"القاهرة", "الدار البيضاء"}, domains: []string{"بريد.example", "example.net"},
	},
	{
		first: []spelled{{"נועה", "noa"}, {"יעקב", "yaakov"}}, last: []spelled{{"כהן", "cohen"}, {"בן־דוד", "bendavid"}},
		cities: []string{"תל אביב", "חיפה"}, domains: []string{"דואר.example", "example.org"},
	},
	{
		first: []spelled{{"伟", "wei"}, {"秀英", "xiuying"}, {"子涵", "zihan"}}, last: []spelled{{"王", "wang"}, {"欧阳", "ouyang"}, {"𠮷田", "jitian"}},
		cities: []string{"北京", "廣州"}, domains: []string{"邮件.example", "example.com"}, familyFirst: true, joint: true,
	},
	{
		first: []spelled{{"さくら", "sakura"}, {"健太", "kenta"}, {"ユミ", "yumi"}}, last: []spelled{{"佐藤", "sato"}, {"髙橋", "takahashi"}},
		cities: []string{"東京", "那覇"}, domains: []string{"メール.example", "example.test"}, familyFirst: true,
	},
	{
		first: []spelled{{"서연", "seoyeon"}, {"민준", "minjun"}}, last: []spelled{{"김", "kim"}, {"박", "park"}},
		cities: []string{"서울", "부산"}, domains: []string{"우편.example", "example.net"}, familyFirst: true, joint: true,
	},
	{
		first: []spelled{{"अनन्या", "ananya"}, {"राहुल", "rahul"}}, last: []spelled{{"शर्मा", "sharma"}, {"श्रीवास्तव", "shrivastava"}},
		cities: []string{"दिल्ली", "मुंबई"}, domains: []string{"डाक.example", "example.org"},
	},
	{
		first: []spelled{{"สมชาย", "somchai"}, {"กัญญา", "kanya"}}, last: []spelled{{"ศรีสุข", "srisuk"}, {"แก้วมณี", "kaewmanee"}},
		cities: []string{"กรุงเทพฯ", "เชียงใหม่"}, domains: []string{"ไปรษณีย์.example", "example.com"},
	},
}

// invalidAddresses are wrong in every way that lists are wrong.
var invalidAddresses = []string{
	"", "n/a", "lucia.nunez.example.com", "oscar@", "@example.com", "zoe mueller@example.com", "inigo..pena@example.com",
	"eleni@example", "<ivan@example.com>", "\"sato kenta\"@example.test", "noa@[192.0.2.7]", "angel@exa_mple.com",
}

var refusedAddresses = []string{
	"gone.away@bounce.example", "former-employee@bounce.example", "typo@bounce.example", "Old.Account@bounce.example",
	"hoarder@full.example", "on.leave@full.example", "spamtrap@blocked.example", "strict@blocked.example",
}
