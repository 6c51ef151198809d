//! What does another mapping do to a file that was read?

use crate::product::Product;

#[test]
fn a_changed_mapping_reads_the_file_again() {
    let product = Product::new();
    product.write("usage.csv", "region,tokens\neu,5\nus,7\neu,9\n");
    let mapping = |regions: &str| {
        format!(
            "format = \"csv\"\n[event]\nid = \"{{#}}\"\nsource = \"/usage\"\ntype = \"llm.request\"\nsubject = \"acme\"\ntime = \"2026-01-15T10:00:00Z\"\n[data]\ntokens = \"tokens\"\nmodel = \"region\"\n[where]\nregion = {regions}\n"
        )
    };
    let ingest = || product.run(&["ingest", "usage.csv", "--mapping", "mapping.toml"]);
    product.write("mapping.toml", &mapping("\"eu\""));
    let first = ingest();
    assert!(first.out.contains("counted 2 + again 0"), "{first:#?}");
    let same = ingest();
    assert!(same.out.contains("received 0") && same.err.contains("nothing has changed"), "{same:#?}");

    product.write("mapping.toml", &mapping("[\"eu\", \"us\"]"));
    let changed = ingest();
    assert!(changed.out.contains("counted 1 + again 2"), "what was counted is recognised: {changed:#?}");
    assert!(ingest().err.contains("nothing has changed"));
}
