//! The continent of each country, for databases that have countries and no continents.

use super::location::Code;

/// Continents and their countries: the codes of ISO 3166-1, and `XK`, which databases use for Kosovo. Where a country
/// stands is as in GeoNames (<https://www.geonames.org/countries/>), which the databases in the GeoIP2 layout follow: Cyprus and
/// Russia in Europe, Turkey and the Caucasus in Asia.
const CONTINENTS: [(&str, &str); 7] = [
    (
        "AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU \
         MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    ("AN", "AQ BV GS HM TF"),
    (
        "AS",
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO \
         MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        "EU",
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV \
         MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        "NA",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR \
         SV SX TC TT US VC VG VI",
    ),
    (
        "OC",
        "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    ),
    ("SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// The continent of `country`; `None` for a code that is no country's.
pub fn continent_of(country: Code) -> Option<Code> {
    let found = CONTINENTS
        .iter()
        .find(|(_, countries)| countries.split(' ').any(|code| code == country.as_str()));
    found.and_then(|(continent, _)| Code::new(continent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_one_continent() {
        let mut codes: Vec<&str> = CONTINENTS
            .iter()
            .flat_map(|(_, countries)| countries.split(' '))
            .collect();
        assert_eq!(codes.len(), 250, "the 249 of ISO 3166-1, and Kosovo");
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 250);
        assert!(codes.iter().all(|code| {
            Code::new(code)
                .is_some_and(|code| code.as_str().bytes().all(|b| b.is_ascii_uppercase()))
        }));
    }

    #[test]
    fn countries_stand_where_databases_have_them() {
        let of =
            |country: &str| continent_of(Code::new(country).unwrap()).map(|code| code.to_string());
        for (country, continent) in [
            ("IE", "EU"),
            ("CY", "EU"),
            ("RU", "EU"),
            ("TR", "AS"),
            ("JP", "AS"),
            ("US", "NA"),
            ("MX", "NA"),
            ("BR", "SA"),
        ] {
            assert_eq!(of(country).as_deref(), Some(continent), "{country}");
        }
        assert_eq!(of("ZA").as_deref(), Some("AF"));
        assert_eq!(of("AU").as_deref(), Some("OC"));
        assert_eq!(of("AQ").as_deref(), Some("AN"));
        assert_eq!(of("ZZ"), None);
        assert_eq!(of("A1"), None, "an anonymous proxy in old databases");
    }
}
