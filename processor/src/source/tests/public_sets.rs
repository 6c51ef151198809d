//! Do the mappings of the documentation read what public data sets look like? First rows, with their sources.

use super::{TestFile, mapping, shown};
use expect_test::expect;

/// Azure LLM inference trace 2023 (github.com/Azure/AzurePublicDataset, CC BY 4.0): 100 ns digits, no line end at the end.
#[test]
fn azure_llm_inference_trace() {
    let map = mapping(
        "format = \"csv\"\n[event]\nid = \"{file}-{#}\"\nsource = \"/azure-llm/{file}\"\ntype = \"llm.request\"\nsubject = \"{file}\"\n\
         time = { column = \"TIMESTAMP\", format = \"%Y-%m-%d %H:%M:%S%.f\", zone = \"UTC\" }\n\
         [data]\ncontext_tokens = \"ContextTokens\"\ngenerated_tokens = \"GeneratedTokens\"\n",
    );
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8";
    expect![[r#"
        2 {"specversion":"1.0","id":"code-1","source":"/azure-llm/code","type":"llm.request","subject":"code","time":"2023-11-16T18:17:03.97996Z","data":{"context_tokens":4808,"generated_tokens":10}}
        3 {"specversion":"1.0","id":"code-2","source":"/azure-llm/code","type":"llm.request","subject":"code","time":"2023-11-16T18:17:04.03196Z","data":{"context_tokens":3180,"generated_tokens":8}}
    "#]].assert_eq(&shown(&TestFile::new("code.csv", text).items(Some(&map))));
}

/// FOCUS 1.0 sample (github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS-Sample-Data, CC BY 4.0): some of its 44 columns.
#[test]
fn focus_sample() {
    let map = mapping(
        "format = \"csv\"\nnull = [\"NULL\"]\n[event]\nid = \"{Id}\"\nsource = \"/focus/{ProviderName}\"\ntype = \"cloud.charge\"\nsubject = \"{SubAccountId}\"\n\
         time = { column = \"ChargePeriodStart\", format = \"%Y-%m-%d %H:%M:%S\", zone = \"UTC\" }\n\
         [data]\nquantity = \"PricingQuantity\"\nunit_price = \"ListUnitPrice\"\nregion = \"RegionId\"\n[where]\nProviderName = \"AWS\"\n",
    );
    let text = "\"ChargePeriodStart\",\"Id\",\"ListUnitPrice\",\"PricingQuantity\",\"ProviderName\",\"RegionId\",\"SubAccountId\"\n\
                \"2024-09-18 22:00:00\",11472,\"0.0000004\",2.00000000000,\"AWS\",\"us-west-2\",\"51738928782\"\n\
                \"2024-09-18 22:00:00\",11473,\"0.1\",1,\"Microsoft\",NULL,\"x\"\n\
                \"2024-09-18 23:00:00\",11474,NULL,-1,\"AWS\",NULL,\"51738928782\"\n";
    expect![[r#"
        2 {"specversion":"1.0","id":"11472","source":"/focus/AWS","type":"cloud.charge","subject":"51738928782","time":"2024-09-18T22:00:00Z","data":{"quantity":2.00000000000,"region":"us-west-2","unit_price":0.0000004}}
        4 {"specversion":"1.0","id":"11474","source":"/focus/AWS","type":"cloud.charge","subject":"51738928782","time":"2024-09-18T23:00:00Z","data":{"quantity":-1}}
    "#]].assert_eq(&shown(&TestFile::new("focus_sample.csv", text).items(Some(&map))));
}

/// Apache access log in combined format (github.com/elastic/examples, "Common Data Formats", Apache-2.0): `-` bytes are none.
#[test]
fn apache_access_log() {
    let map = mapping(
        "format = \"lines\"\nnull = [\"-\"]\n\
         pattern = '^(?P<client>\\S+) \\S+ \\S+ \\[(?P<time>[^\\]]+)\\] \"(?P<request>(?:[^\"\\\\]|\\\\.)*)\" (?P<status>\\d{3}) (?P<bytes>\\d+|-)'\n\
         [event]\nid = \"{file}-{#}\"\nsource = \"/web/{file}\"\ntype = \"http.request\"\nsubject = \"{client}\"\n\
         time = { column = \"time\", format = \"%d/%b/%Y:%H:%M:%S %z\" }\n\
         [data]\nstatus = \"status\"\nbytes = { column = \"bytes\", default = \"0\" }\n",
    );
    let text = "83.149.9.216 - - [17/May/2015:10:05:03 +0000] \"GET /presentations/kibana-search.png HTTP/1.1\" 200 203023 \"http://semicomplete.com/\" \"Mozilla/5.0\"\n\
                83.149.9.216 - - [17/May/2015:10:05:43 +0000] \"GET /a HTTP/1.1\" 304 - \"-\" \"Mozilla/5.0\"\n\
                not a request\n";
    expect![[r#"
        1 {"specversion":"1.0","id":"apache_logs-1","source":"/web/apache_logs","type":"http.request","subject":"83.149.9.216","time":"2015-05-17T10:05:03Z","data":{"bytes":203023,"status":200}}
        2 {"specversion":"1.0","id":"apache_logs-2","source":"/web/apache_logs","type":"http.request","subject":"83.149.9.216","time":"2015-05-17T10:05:43Z","data":{"bytes":0,"status":304}}
        3 [no_match] not a request
    "#]].assert_eq(&shown(&TestFile::new("apache_logs", text).items(Some(&map))));
}
