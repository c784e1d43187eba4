/// Closed classes of English words that the answerer tells apart.
enum Lexicon {
    static let questionWords: Set<String> = ["who", "whom", "whose", "when", "where", "why", "how", "what", "which"]

    static let negations: Set<String> = [
        "not", "never", "no", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "non", "isn", "wasn", "aren", "weren",
        "doesn", "didn", "hasn", "haven", "hadn", "wouldn", "couldn", "shouldn", "rarely", "hardly",
    ]

    /// Whether the word only holds a sentence together.
    static func isFunctionWord(_ word: Word) -> Bool { functionWords.contains(word.folded) }

    private static let functionWords = Set(
        """
        a an the and or but if so as than then of in on at by for with from to into onto upon over under about between among through during \
        before after above below up down out off again there here is am are was were be been being do does did doing have has had having \
        can could may might must shall should will would i you he she it we they me him her us them my your his its our their mine yours this that these \
        those what which who whom whose when where why how not no nor only own same such too very just also both each any all some most more other another \
        s t d ll m re ve isn wasn aren weren doesn didn don hasn haven hadn wouldn couldn shouldn please tell give name called used use using one while because \
        against until within without along across toward towards per via be get got
        """.split(separator: " ").map(String.init))

    /// Adjectives after `how` that ask for a number.
    static let measures: Set<String> = [
        "old", "long", "far", "tall", "high", "large", "big", "often", "fast", "deep", "wide", "heavy", "hot", "cold", "late", "early", "soon",
    ]

    /// Nouns after `what` or `which` that tell the kind of answer, by stem.
    static let kinds: [String: QuestionAnalysis.Expected] = {
        let table: [(QuestionAnalysis.Expected, String)] = [
            (.time, "year date day month decade century time period season era"),
            (
                .place,
                "city country state place location continent region area town village county river island street province nation capital lake ocean sea building university school planet mountain"
            ),
            (
                .quantity,
                "number percentage percent amount population price cost rate distance length height size temperature speed age weight width depth ratio fraction proportion quantity score salary budget"
            ),
            (
                .person,
                "person man woman king queen emperor president author actor actress scientist philosopher leader general artist composer writer player quarterback coach singer inventor director mathematician physicist chemist minister explorer engineer architect company organization group people team tribe dynasty"
            ),
            (.reason, "reason cause purpose"),
            (.manner, "way method"),
        ]
        var kinds: [String: QuestionAnalysis.Expected] = [:]
        for (kind, words) in table {
            for word in words.split(separator: " ") { kinds[Stemmer.stem(String(word))] = kind }
        }
        return kinds
    }()

    static let numberWords = Set(
        """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty \
        thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million millions billion billions trillion half third quarter dozen dozens \
        once twice thrice double triple single both several first second
        """.split(separator: " ").map(String.init))

    static let timeWords = Set(
        """
        january february march april may june july august september october november december monday tuesday wednesday thursday friday \
        saturday sunday century centuries decade decades year years month months week weeks day days hour hours minute minutes spring summer autumn winter today \
        ago early late era period since until during after before when morning night
        """.split(separator: " ").map(String.init))

    static let reasonWords = Set(
        "because due cause caused causes causing reason reasons therefore thus result resulted results resulting owing".split(separator: " ").map(String.init))

    /// Stems of words that mean the opposite of `stem`.
    static func opposites(of stem: String) -> Set<String> { antonyms[stem] ?? [] }

    /// Whether one stem is the other with a negating prefix: `lawful` and `unlawful`.
    static func isNegatedForm(_ a: String, _ b: String) -> Bool {
        let (short, long) = a.utf8.count < b.utf8.count ? (a, b) : (b, a)
        guard short.utf8.count >= 4, long.hasSuffix(short) else { return false }
        return ["un", "in", "im", "ir", "il", "dis", "non", "mis", "anti"].contains(String(long.dropLast(short.count)))
    }

    private static let antonyms: [String: Set<String>] = {
        let pairs = """
            increase decrease;increase reduce;increase decline;rise fall;rise drop;grow shrink;gain lose;win lose;win defeat;begin end;start end;start stop;\
            start finish;begin finish;open close;first last;early late;old new;old young;old modern;ancient modern;large small;big small;big little;major minor;\
            high low;higher lower;tall short;long short;more less;more few;most least;maximum minimum;many few;best worst;good bad;better worse;positive negative;\
            strong weak;rich poor;wealth poverty;hot cold;warm cool;warm cold;fast slow;quick slow;easy difficult;easy hard;simple complex;light heavy;light dark;\
            black white;north south;east west;northern southern;eastern western;left right;up down;above below;top bottom;upper lower;inside outside;\
            internal external;inner outer;before after;previous next;former latter;male female;man woman;boy girl;father mother;son daughter;brother sister;king queen;\
            husband wife;public private;rural urban;local global;national international;domestic foreign;legal illegal;support oppose;support reject;accept reject;\
            allow prohibit;allow prevent;allow ban;allow forbid;permit forbid;include exclude;agree disagree;approve reject;create destroy;build destroy;\
            buy sell;import export;give take;give receive;send receive;teach learn;love hate;like dislike;enter leave;enter exit;arrive leave;arrive depart;\
            come go;push pull;attack defend;war peace;friend enemy;ally enemy;success failure;succeed fail;pass fail;true false;right wrong;common rare;\
            common uncommon;always never;often rarely;often seldom;same different;similar different;unite divide;join leave;remain leave;expand contract;add remove;\
            add subtract;appear disappear;remember forget;live die;life death;birth death;born die;alive dead;full empty;wet dry;soft hard;thick thin;wide narrow;\
            deep shallow;near far;near distant;close far;odd even;prime composite;active passive;offense defense;direct indirect;formal informal;natural artificial;\
            theoretical practical;religious secular;liberal conservative;democrat republican;christian muslim;catholic protestant;winter summer;day night;\
            morning evening;sun moon;land sea;summer winter;present absent;presence absence;abundant scarce;abundance scarcity;advantage disadvantage;\
            benefit harm;profit loss;cheap expensive;clean dirty;safe dangerous;free slave;voluntary compulsory;voluntary mandatory;optional mandatory;required optional;\
            temporary permanent;constant variable;finite infinite;visible invisible;single multiple;individual collective;majority minority;superior inferior;\
            ascend descend;forward backward;toward away;together apart;enable disable;encrypt decrypt;encourage discourage;strengthen weaken;improve worsen;\
            heat cool;raise lower;raise reduce;lengthen shorten;widen narrow;lose find;cause prevent;cause cure;beginning end;origin end;introduce abolish;\
            establish abolish;innocent guilty;honest dishonest;happy sad;attract repel;victory defeat;freedom slavery;peaceful violent;traditional modern
            """
        var antonyms: [String: Set<String>] = [:]
        for pair in pairs.split(separator: ";") {
            let stems = pair.split(separator: " ").map { Stemmer.stem(String($0)) }
            antonyms[stems[0], default: []].insert(stems[1])
            antonyms[stems[1], default: []].insert(stems[0])
        }
        return antonyms
    }()
}
