// As much of grafonnet's interface as node-mixin's dashboards use, to get their panels and queries. How they look is left out.
local nothing = { [name]: function(a=null, b=null) {} for name in [
  'new', 'onTime', 'withCellOptions', 'withColor', 'withDatasourceFromVariable', 'withDescription', 'withFillOpacity', 'withFrom', 'withH',
  'withId', 'withIncludeAll', 'withInstant', 'withLabel', 'withLabelAndValue', 'withMax', 'withMin', 'withMode', 'withNothing',
  'withOptions', 'withOverrides', 'withProperty', 'withPropertiesFromOptions', 'withRefresh', 'withSharedCrosshair', 'withShowLegend',
  'withShowPoints', 'withSort', 'withSteps', 'withTags', 'withTimezone', 'withTransform', 'withTransformations', 'withUid', 'withUnit',
  'withValue', 'withW', 'withX', 'withY',
] };
local override = { byName: nothing, byRegexp: nothing };
local panel(type) = nothing {
  new(title): { type: type, title: title },
  fieldConfig: { defaults: { custom: nothing { stacking: nothing } } },
  options: { legend: nothing, tooltip: nothing },
  panelOptions: nothing,
  queryOptions: nothing { withTargets(targets): { targets: targets }, transformation: nothing },
  standardOptions: nothing { override: override, threshold: { step: nothing }, thresholds: nothing },
};
{
  dashboard: nothing {
    new(title): { title: title },
    graphTooltip: nothing,
    time: nothing,
    withPanels(panels): { panels: panels },
    withVariables(variables): { templating: { list: variables } },
    variable: {
      datasource: nothing { new(name, type): { name: name, type: 'datasource' } },
      query: nothing {
        new(name): { name: name, type: 'query' },
        generalOptions: nothing { showOnDashboard: nothing },
        queryTypes: { withLabelValues(label, metric): { query: 'label_values(%s, %s)' % [metric, label] } },
        refresh: nothing,
        selectionOptions: { withIncludeAll(all, value): { includeAll: all, allValue: value } },
        withSort(asc): {},
      },
    },
  },
  panel: {
    gauge: panel('gauge'),
    row: nothing { new(title): { type: 'row', title: title }, gridPos: nothing, withPanels(panels): { panels: panels } },
    table: panel('table'),
    timeSeries: panel('timeseries'),
  },
  query: { prometheus: nothing {
    new(source, expr): { expr: expr },
    withFormat(format): {},
    withIntervalFactor(factor): {},
    withLegendFormat(format): { legendFormat: format },
  } },
  util: { grid: { makeGrid(rows, panelWidth, panelHeight, startY=0): rows } },
}
